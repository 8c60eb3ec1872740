package request_test

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/request"
)

// headerLines reads headers from lines of "name: value", as the fuzz targets take them. "{id}" stands for the id of the call.
func headerLines(lines, id string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for line := range strings.SplitSeq(strings.ReplaceAll(lines, "{id}", id), "\n") {
			name, v, _ := strings.Cut(line, ": ")
			if !yield(name, v) {
				return
			}
		}
	}
}

// A question and its answer on the wire of NATS, and what a hostile peer makes of them.
const (
	goodQuestion = "sixfold-protocol: request/1\nsixfold-request: {id}\nsixfold-timeout: 5000\nce-specversion: 1.0\nce-id: {id}\nce-source: shop\nce-type: text.length\ncontent-type: application/json"
	goodAnswer   = "sixfold-protocol: reply/1\nsixfold-request: {id}\nsixfold-status: ok\nce-specversion: 1.0\nce-id: a\nce-source: shop\nce-type: text.length.reply\ncontent-type: application/json"
	goodFault    = "sixfold-protocol: reply/1\nsixfold-request: {id}\nsixfold-status: internal\nce-specversion: 1.0\nce-id: a\nce-source: shop\nce-type: sixfold.fault"
	aCancel      = "sixfold-protocol: cancel/1\nsixfold-request: {id}"
	anItem       = "sixfold-protocol: item/1\nsixfold-request: {id}\nsixfold-number: 1\nce-specversion: 1.0\nce-id: a\nce-source: shop\nce-type: text.length.item\ncontent-type: application/json"
	aCredit      = "sixfold-protocol: credit/1\nsixfold-request: {id}\nsixfold-number: 64"
	structured   = `{"specversion":"1.0","id":"a","source":"shop","type":"text.length.reply","data":4}`
)

func addPackets(f *testing.F) {
	for _, lines := range []string{goodQuestion, goodAnswer, goodFault, aCancel, anItem, aCredit, ""} {
		f.Add(lines, []byte(`{"Text":"four"}`))
		f.Add(lines, []byte(`4`))
		for _, change := range [][2]string{{"/1", "/2"}, {"/1", "/"}, {"request/", "scatter/"}, {"item/", "alive/"}, {"/1\n", "/1\nsixfold-number: 3\n"}, {"number: 1", "number: 0"}, {"{id}", ""}, {"{id}", "other"}, {"ok", "teapot"}, {"ok", "internal"}, {"internal", "ok"}, {"internal", "teapot"}, {"ce-source: shop\n", ""}, {"5000", "0"}, {"5000", "1"}, {"5000", "-1"},
			{"5000", "99999999999"}, {"ce-id: ", "ce-id: %"}, {"text", "txt"}, {"json", "unknown"}, {"ce-specversion: 1.0", "ce-expirytime: 2001-01-01T00:00:00Z\nce-specversion: 1.0"},
			{"sixfold-protocol: ", "Sixfold-Protocol: reply/9\nSIXFOLD-PROTOCOL: "}, {"sixfold-", "sixfold_"}, {"sixfold-status", "sixfold-\u017ftatus"}} {
			f.Add(strings.Replace(lines, change[0], change[1], 1), []byte(`{"Text":"four"}`))
		}
	}
	f.Add("sixfold-protocol: reply/1\nsixfold-request: {id}\nsixfold-status: ok\ncontent-type: application/cloudevents+json", []byte(structured))
}

// FuzzPacket reads whatever headers come: what can be written again reads back the same.
func FuzzPacket(f *testing.F) {
	addPackets(f)
	bindings := []*cloudevents.Binding{cloudevents.NATS(), cloudevents.AMQP(), cloudevents.Kafka(), cloudevents.HTTP()}
	f.Fuzz(func(t *testing.T, lines string, body []byte) {
		for _, b := range bindings {
			p := request.ReadPacket(b, headerLines(lines, "1"), body)
			for name, got := range map[string]string{request.HeaderProtocol: p.Protocol, request.HeaderRequest: p.Request, request.HeaderTimeout: p.Timeout, request.HeaderStatus: p.Status, request.HeaderVersions: p.Versions, request.HeaderNumber: p.Number} {
				if want := firstOf(lines, name); got != want {
					t.Fatalf("%s is %q, the first that came is %q", name, got, want)
				}
			}
			heads, err := p.AppendHeaders(nil, b)
			if err != nil && p.Damaged == nil && p.Envelope.Type != "" {
				t.Fatalf("what was read cannot be written: %v", err)
			}
			if err != nil || p.Damaged != nil {
				continue
			}
			q := request.ReadPacket(b, func(yield func(string, string) bool) {
				for _, h := range heads {
					if !yield(h.Name, h.Value) {
						return
					}
				}
			}, p.Envelope.Body)
			if q.Damaged != nil || q.Protocol != p.Protocol || q.Request != p.Request || q.Timeout != p.Timeout || q.Status != p.Status || q.Number != p.Number || q.Versions != p.Versions ||
				q.Envelope.ID != p.Envelope.ID || q.Envelope.Type != p.Envelope.Type || string(q.Envelope.Body) != string(p.Envelope.Body) {
				t.Fatalf("through %q: %+v became %+v, %v", heads, p, q, q.Damaged)
			}
		}
	})
}

// firstOf is the first value of a header that is not empty.
func firstOf(lines, name string) string {
	for n, v := range headerLines(lines, "1") {
		if len(n) == len(name) && strings.EqualFold(n, name) && v != "" {
			return v
		}
	}
	return ""
}

// wire is a lane without a carrier: the functions of a test stand for the other side.
type wire struct {
	request.Lane
	in   request.Requests
	asks func(in request.Replies, p *request.Packet)
	said chan *request.Packet
}

func (w *wire) Open(_ context.Context, in request.Replies) (request.Port, error) {
	return wirePort{w, in}, nil
}

func (w *wire) Listen(_ context.Context, _ []string, in request.Requests) (request.Ear, error) {
	w.in = in
	return wireEar{w}, nil
}

type wirePort struct {
	w  *wire
	in request.Replies
}

func (p wirePort) Ask(_ context.Context, _ string, asked *request.Packet) error {
	p.w.asks(p.in, asked.Clone())
	return nil
}
func (p wirePort) Close(context.Context) error { return nil }

type wireEar struct{ w *wire }

func (e wireEar) Answer(_ context.Context, _, reply *request.Packet) error {
	e.w.said <- reply.Clone()
	return nil
}
func (wireEar) StopListening(context.Context) error { return nil }
func (wireEar) Close(context.Context) error         { return nil }

// FuzzPacketToCaller answers a call with whatever headers: the slot stays open unless the reply is valid.
func FuzzPacketToCaller(f *testing.F) { // guarantees: Q2
	addPackets(f)
	w := &wire{Lane: newLane(f)}
	c := newClient(f, w, &request.ClientOptions{MaxInFlight: 1})
	f.Fuzz(func(t *testing.T, lines string, body []byte) {
		valid := false
		w.asks = func(in request.Replies, asked *request.Packet) {
			p := request.ReadPacket(cloudevents.NATS(), headerLines(lines, asked.Request), body)
			in.Take(p)
			answer := p.Status == "ok" && p.Envelope.Type == "text.length.reply"
			fault := strings.Contains("|internal|malformed|unavailable|unsupported|expired|unauthorised|", "|"+p.Status+"|") && p.Status != "" && p.Envelope.Type == "sixfold.fault"
			version, hasKind := strings.CutPrefix(p.Protocol, "reply/")
			one := version != "" && len(version) <= 9 && strings.TrimLeft(version, "0") == "1" // "01" is the same number
			valid = hasKind && one && p.Request == asked.Request && p.Damaged == nil && (answer || fault)
			if open := c.Stats().InFlight == 1; open == valid {
				t.Fatalf("of %+v (damaged: %v) the slot is open: %v", p, p.Damaged, open)
			}
			in.Take(request.ReadPacket(cloudevents.NATS(), headerLines(goodAnswer, asked.Request), []byte("4")))
		}
		n, err := request.Send(t.Context(), c, Length{Text: "four"})
		var fault *request.Fault
		if c.Stats().InFlight != 0 || !valid && (n != 4 || err != nil) || err != nil && !errors.As(err, &fault) && !errors.Is(err, request.ErrDecode) {
			t.Fatalf("the call answered %d, %v; the client counts %+v", n, err, c.Stats())
		}
	})
}

// FuzzPacketToResponder asks with whatever headers: each is dropped or answered once, and the handler runs for those only that
// are whole.
func FuzzPacketToResponder(f *testing.F) { // guarantees: Q4
	addPackets(f)
	w := &wire{Lane: newLane(f), said: make(chan *request.Packet, 1)}
	runs := 0 // calls come one after the other, and their answers are between
	r, _ := serve(f, w, request.ServeOptions{Logger: slog.New(slog.DiscardHandler)}, request.On(func(_ context.Context, q Length) (int, error) {
		runs++
		return len(q.Text), nil
	}))
	before := r.Stats()
	f.Fuzz(func(t *testing.T, lines string, body []byte) {
		p := request.ReadPacket(cloudevents.NATS(), headerLines(lines, "1"), body)
		p.ReplyTo = "caller"
		asked := *p // since the responder owns p
		runsBefore := runs
		w.in.Take("text.length", p)
		want, drop := verdict(&asked)
		if drop {
			quiet := strings.HasPrefix(asked.Protocol, "cancel/") || strings.HasPrefix(asked.Protocol, "credit/") // of nothing that is known
			if after := r.Stats(); after.Dropped != before.Dropped+1 && !quiet || len(w.said) > 0 {
				t.Fatalf("%+v was not dropped", asked)
			}
			before = r.Stats()
			return
		}
		var reply *request.Packet
		select {
		case reply = <-w.said:
		case <-time.After(time.Minute):
			t.Fatalf("%+v was not answered", asked)
		}
		status := reply.Status
		early := status == "expired" && (asked.Timeout != "" || !asked.Envelope.Expires.IsZero()) // a matter of the clock
		if reply.Request != asked.Request || want != status && !(want == "ok" && (early || status == "malformed")) {
			t.Fatalf("%+v (damaged: %v) was answered %q of %q, not %q", asked, asked.Damaged, status, reply.Request, want)
		}
		if ran := runs - runsBefore; ran > 1 || (ran == 1) != (status == "ok") {
			t.Fatalf("%+v was answered %q, and the handler ran %d times", asked, status, ran)
		}
		if _, version, _ := strings.Cut(asked.Protocol, "/"); reply.Protocol != "reply/"+version && reply.Protocol != "reply/1" {
			t.Fatalf("%q was answered in %q", asked.Protocol, reply.Protocol)
		}
		for r.Stats().Running > 0 { // since the same id comes again, which is no duplicate once this one is over
			runtime.Gosched()
		}
		before = r.Stats()
	})
}

// verdict is what docs/protocol.md says about a request, but for what only the handler and the clock can tell.
func verdict(p *request.Packet) (status string, drop bool) {
	kind, v, found := strings.Cut(p.Protocol, "/")
	version, err := strconv.ParseUint(v, 10, 32)
	if !found || err != nil || len(v) > 9 || kind != "request" && kind != "scatter" || p.Request == "" || len(p.Request) > sixfold.MaxName || strings.ContainsFunc(p.Request, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", true
	}
	if version != request.Version {
		return "unsupported", false
	}
	if p.Damaged != nil {
		return "malformed", false
	}
	if p.Envelope.Type != "text.length" || kind == "request" && p.Number != "" { // which asks for a stream
		return "unsupported", false
	}
	if _, err := strconv.ParseUint(p.Timeout, 10, 32); err != nil || len(p.Timeout) > 9 {
		return "malformed", false
	}
	return "ok", false
}
