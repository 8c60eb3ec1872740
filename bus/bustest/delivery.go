package bustest

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// deliveryCases are the sentences about what arrives: the attributes, headers and body as they were sent (guarantees: O5).
func deliveryCases() []Case {
	const says = "Delivery is one arrival of an envelope: attributes, headers and bytes that nothing between the producer and the handler changes"
	return []Case{
		{
			Name:   "Delivery/Attributes",
			Says:   says,
			Advice: "map every attribute of sixfold.Envelope to the wire, with package cloudevents; encode what the broker cannot carry (UTF-8 in headers)",
			test:   attributes,
		},
		{
			Name:   "Delivery/Headers",
			Says:   says,
			Advice: "carry user headers with their case and any UTF-8 value, 128 of them; encode where the broker's own headers cannot",
			test:   headers,
		},
		{
			Name:   "Delivery/Body",
			Says:   says,
			Advice: "send the body as bytes: no text, no JSON, no trimming, no compression that is not undone",
			test: func(p *probe) {
				all := make([]byte, 256)
				for i := range all {
					all[i] = byte(i)
				}
				long := bytes.Repeat([]byte("64 KiB  "), 8<<10)
				if limit := p.t.Capabilities().MaxBody; limit > 0 {
					long = long[:min(limit/2, len(long))]
				}
				for _, body := range [][]byte{all, long, []byte(" \n{\"b\":1.0, \"a\":1e400}\n "), {0}} {
					e := p.envelope("k")
					e.Body = bytes.Clone(body)
					if d := p.through(e); !bytes.Equal(d.Body, body) {
						p.fail("a body of %d bytes (%.20q…) arrived as %d bytes (%.20q…)", len(body), body, len(d.Body), d.Body)
					}
				}
			},
		},
		{
			Name:   "Delivery/NoBodyIsNotEmpty",
			Says:   "Body nil (no payload) and empty are different and both legal",
			Advice: "mark one of the two on the wire, as package cloudevents does",
			test: func(p *probe) {
				for _, body := range [][]byte{nil, {}} {
					e := p.envelope("k")
					e.Body = body
					if d := p.through(e); len(d.Body) != 0 || (d.Body == nil) != (body == nil) {
						p.fail("the body %#v arrived as %#v", body, d.Body)
					}
				}
			},
		},
		{
			Name:   "Delivery/Keys",
			Says:   "Key is optional, and arrives as it was sent",
			Advice: "where the broker's own key or subject cannot hold any text up to 255 bytes, carry the key as an attribute beside it",
			test: func(p *probe) {
				for _, key := range []string{"", "k", "ключ 🔑", "a b.c*>#/\\\"'%", strings.Repeat("k", 255)} {
					if d := p.through(p.envelope(key)); d.Key != key {
						p.fail("the key %q arrived as %q", key, d.Key)
					}
				}
			},
		},
		{
			Name:   "Delivery/Topic",
			Says:   "Delivery.Topic is the topic that it was sent to",
			Advice: "answer Sixfold's name of the topic, not the broker's subject, queue or partition",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "k")...)
				if d := p.receive(src, 1)[0]; d.Topic != topic {
					p.fail("what was sent to %q says that it was sent to %q", topic, d.Topic)
				}
			},
		},
	}
}

// through sends one envelope over a new topic and answers its arrival.
func (p *probe) through(e *sixfold.Envelope) *bus.Delivery {
	p.Helper()
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, group(topic))
	sender := p.open()
	p.mustSend(sender, bus.Outgoing{Topic: topic, Envelope: e})
	d := p.receive(src, 1)[0]
	p.settle(src, d)
	p.close("sender", sender.Close)
	p.close("source", src.Close)
	return d
}

func attributes(p *probe) {
	full := &sixfold.Envelope{
		Source:        "/orders/süd",
		Type:          "orders.placed",
		Subject:       "Bestellung Nr. 7 – „eilig“ 🚚",
		Key:           "k",
		Time:          time.Date(2026, 2, 3, 4, 5, 6, 789_012_000, time.UTC),
		ContentType:   "application/json; charset=utf-8",
		CorrelationID: "correlation 1",
		CausationID:   "causation-2",
		TraceParent:   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		TraceState:    "vendor=value,other=1",
		Expires:       time.Date(2126, 1, 2, 3, 4, 5, 6000, time.UTC),
		ReplyTo:       "replies.process-1",
		Sequence:      "63/9223372036854775807",
		Body:          []byte("{}"),
	}
	bare := &sixfold.Envelope{Source: "s", Type: "t", Key: "k", Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), ContentType: "text/plain"}
	for _, want := range []*sixfold.Envelope{full, bare} {
		want.ID = p.envelope("").ID
		sent := *want
		if diff := difference(want, &p.through(&sent).Envelope); diff != "" {
			p.fail("an envelope arrived changed: %s", diff)
		}
	}
}

func headers(p *probe) {
	want := map[string]string{"lower": "a", "UPPER-Case": "B", "upper-case": "b", "empty": "", "utf8": "Grüße, 世界 🌍", "spaces": "  a  b  ", "signs": `";,=%\`}
	for i := len(want); i < sixfold.MaxHeaders; i++ {
		want[fmt.Sprintf("header-%d", i)] = fmt.Sprint(i)
	}
	for _, h := range []map[string]string{want, nil} {
		e := p.envelope("k")
		e.Headers = maps.Clone(h)
		d := p.through(e)
		for k, v := range h {
			if got, there := d.Headers[k]; !there || got != v {
				p.fail("of %d headers, %q=%q arrived as %q (there: %v)", len(h), k, v, got, there)
			}
		}
		if len(d.Headers) != len(h) {
			p.fail("%d headers were sent and %d arrived", len(h), len(d.Headers))
		}
	}
}

// difference names the attributes that differ. Headers and bodies have cases of their own.
func difference(want, got *sixfold.Envelope) string {
	var diffs []string
	text := func(name, w, g string) {
		if w != g {
			diffs = append(diffs, fmt.Sprintf("%s was %q and is %q", name, w, g))
		}
	}
	moment := func(name string, w, g time.Time) {
		if !w.Equal(g) {
			diffs = append(diffs, fmt.Sprintf("%s was %v and is %v", name, w, g))
		}
	}
	text("ID", want.ID, got.ID)
	text("Source", want.Source, got.Source)
	text("Type", want.Type, got.Type)
	text("Subject", want.Subject, got.Subject)
	text("Key", want.Key, got.Key)
	moment("Time", want.Time, got.Time)
	text("ContentType", want.ContentType, got.ContentType)
	text("CorrelationID", want.CorrelationID, got.CorrelationID)
	text("CausationID", want.CausationID, got.CausationID)
	text("TraceParent", want.TraceParent, got.TraceParent)
	text("TraceState", want.TraceState, got.TraceState)
	moment("Expires", want.Expires, got.Expires)
	text("ReplyTo", want.ReplyTo, got.ReplyTo)
	text("Sequence", want.Sequence, got.Sequence)
	return strings.Join(diffs, "; ")
}
