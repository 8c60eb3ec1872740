package bustest

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

const prefix = "Of one key, over all Sends in the order of their calls, what the broker took is a prefix of what the Sender was handed"

// senderCases are the sentences about Sender (guarantees: R2, R4, R6).
func senderCases() []Case {
	return []Case{
		{
			Name:   "Sender/KeepsCallOrder",
			Says:   prefix,
			Advice: "hand the batches to one connection (channel, partition) in the order of the calls; let nothing overtake",
			needs:  []need{needsPrefix(), needsOrder()},
			test:   keepsCallOrder,
		},
		{
			Name:   "Sender/PrefixInOneBatch", // [PrefixAfterFailure]
			Says:   "when an envelope fails, every later one of its key fails too (with ErrBehindFailed)",
			Advice: "check size, name and route before handing an envelope over, and keep a set of failed keys that later ones are looked up in",
			needs:  []need{needsPrefix(), needsConfirms()},
			test:   prefixInOneBatch,
		},
		{
			Name:   "Sender/PrefixForLife", // [PrefixAfterFailure]
			Says:   "when an envelope fails, every later one of its key fails too (with ErrBehindFailed), for the rest of the Sender's life",
			Advice: "keep the failed keys as long as the Sender, not as long as the batch",
			needs:  []need{needsPrefix(), needsConfirms()},
			test:   prefixForLife,
		},
		{
			Name:   "Sender/BeginsAgain",
			Says:   "To begin again its owner closes it and opens another",
			Advice: "keep the failed keys in the Sender, not in the transport",
			needs:  []need{needsPrefix(), needsConfirms()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				first := p.open()
				p.send(first, p.bad("k"), p.batch(topic, "k")[0])
				p.close("sender", first.Close)
				if err := errors.Join(p.send(p.open(), p.batch(topic, "k", "k")...)...); err != nil {
					p.fail("a new Sender did not take the key that failed in an earlier one: %v", err)
				}
			},
		},
		{
			Name:   "Sender/OtherKeysGoOn",
			Says:   "when an envelope fails, every later one of its key fails too: of its key, and of no other",
			Advice: "fail by key; only a lost connection fails everything",
			needs:  []need{needsConfirms()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				sender := p.open()
				p.send(sender, append([]bus.Outgoing{p.bad("k")}, p.batch(topic, "before")...)...)
				if err := errors.Join(p.send(sender, p.batch(topic, "l", "before", "m")...)...); err != nil {
					p.fail("after the failure of one key, others failed: %v", err)
				}
			},
		},
		{
			Name:   "Sender/UnkeyedStandsForItself",
			Says:   "An envelope without a key stands for itself",
			Advice: "never put the empty key among the failed ones",
			needs:  []need{needsConfirms()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				sender := p.open()
				errs := p.send(sender, append([]bus.Outgoing{p.bad("")}, p.batch(topic, "", "")...)...)
				for _, err := range append(errs[min(1, len(errs)):], p.send(sender, p.batch(topic, "")...)...) {
					if err != nil {
						p.fail("behind a failed envelope without a key, another without a key failed: %v", err)
					}
				}
			},
		},
		{
			Name:   "Sender/MayMissGoesOn",
			Says:   "An envelope that MayMiss and was unroutable stands for itself: the key goes on",
			Advice: "do not put the key of an unroutable MayMiss envelope among the failed ones",
			needs:  []need{needsMissing(), needsConfirms()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				sender := p.open()
				missing := p.batch(p.h.Missing(p), "k")[0]
				missing.MayMiss = true
				p.send(sender, missing)
				if err := errors.Join(p.send(sender, p.batch(topic, "k")...)...); err != nil {
					p.fail("behind an unroutable MayMiss envelope, the next one of its key failed: %v", err)
				}
			},
		},
		{
			Name:   "Sender/LostForGood",
			Says:   "a Sender never reconnects: once the connection is lost everything fails with ErrUnavailable",
			Advice: "switch the client's own reconnect off for senders, or notice a new connection and fail; whoever owns the Sender opens another",
			needs:  []need{needsCut(), needsConfirms()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				sender := p.open()
				p.mustSend(sender, p.batch(topic, "k")...)
				p.receive(src, 1)
				p.h.Cut(p)
				p.h.Restore(p)
				// A broker of several nodes may confirm what goes to another one until the loss is noticed, by what goes to this one.
				for _, keys := range [][]string{{"k"}, {"k", "l", ""}} {
					for _, err := range p.send(sender, p.batch(topic, keys...)...) {
						if !errors.Is(err, bus.ErrUnavailable) {
							p.fail("after its connection was lost, and the broker was back, the Sender answered %v", err)
						}
					}
				}
			},
		},
		{
			Name:   "Sender/NeverRepeats",
			Says:   "a Sender never repeats: nothing in flight spans two connections",
			Advice: "switch the client's own retry off; fail with ErrUnavailable what had no confirm when the connection was lost",
			needs:  []need{needsCut(), needsHold(), needsConfirms()},
			test:   neverRepeats,
		},
		{
			Name:   "Sender/CloseFailsUnconfirmed",
			Says:   "Close gives the pipe up. What was not confirmed yet fails with ErrUnavailable",
			Advice: "at Close answer every open confirm with ErrUnavailable, so that no Wait hangs and none believes",
			needs:  []need{needsHold(), needsConfirms()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				sender := p.open()
				release := p.h.HoldConfirms(p)
				defer release()
				pending := p.hand(sender, p.batch(topic, "k")...)
				p.close("sender", sender.Close)
				for _, err := range p.wait(pending) {
					if !errors.Is(err, bus.ErrUnavailable) {
						p.fail("an envelope without confirm at Close of its Sender answered %v", err)
					}
				}
			},
		},
		{
			Name:   "Sender/BatchesFollowEachOther",
			Says:   "Send returns once the batch is handed to the connection, so that batches can follow each other without waiting",
			Advice: "write the batch, remember what is in flight, and return; collect the confirms elsewhere",
			needs:  []need{needsHold(), needsConfirms(), needsPrefix()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				sender := p.open()
				// A broker that has never heard of a sender may be given one batch at a time: Kafka checks sequence numbers only from
				// the second on.
				p.mustSend(sender, p.batch(topic, "k")...)
				release := p.h.HoldConfirms(p)
				first := p.hand(sender, p.batch(topic, "k")...)
				batch := p.batch(topic, "k")
				var waited error
				second := within(p, p.cfg.Patience, "Send", func(ctx context.Context) bus.Pending {
					defer func() { waited = ctx.Err() }()
					return sender.Send(ctx, batch)
				})
				if waited != nil {
					p.fail("while the broker withheld the confirm of one batch, Send of the next returned only when its context ended")
				}
				p.receive(src, 3)
				release()
				if err := errors.Join(append(p.wait(first), p.wait(second)...)...); err != nil {
					p.fail("batches that followed each other failed: %v", err)
				}
			},
		},
		{
			Name:   "Sender/SliceIsTheCallers",
			Says:   "Send does not keep the slice",
			Advice: "copy what you need of the batch before Send returns",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				batch := p.batch(topic, "k", "l", "m")
				want := []string{batch[0].ID, batch[1].ID, batch[2].ID}
				pending := p.hand(p.open(), batch...)
				clear(batch)
				if err := errors.Join(p.wait(pending)...); err != nil {
					p.fail("the caller used its slice again after Send, and the batch failed: %v", err)
				}
				got := ids(p.receive(src, 3))
				for _, id := range want {
					if got[id] != 1 {
						p.fail("the caller used its slice again after Send, and a message of the batch did not arrive")
					}
				}
			},
		},
		{
			Name:   "Sender/EnvelopeIsFreeAfterWait",
			Says:   "Send may keep the envelopes until Wait has answered: no longer",
			Advice: "copy body and headers where the client or the broker keeps them beyond the confirm",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				batch := p.batch(topic, "k")
				batch[0].Headers = map[string]string{"a": "1"}
				want := string(batch[0].Body)
				p.mustSend(p.open(), batch...)
				clear(batch[0].Body)
				batch[0].Headers["a"] = "2"
				d := p.receive(src, 1)[0]
				if string(d.Body) != want || d.Headers["a"] != "1" {
					p.fail("the owner used an envelope again after Wait, and it arrived changed: body %q, headers %q", d.Body, d.Headers)
				}
			},
		},
		{
			Name:   "Sender/OnlyReads",
			Says:   "Drivers read an Outgoing only",
			Advice: "put what the broker needs (trace, ids, dedup) into a message of your own, not into the envelope",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				o := bus.Outgoing{Topic: topic, Envelope: p.envelope("k")}
				o.Headers = map[string]string{"a": "1"}
				before := *o.Envelope
				before.Headers = maps.Clone(before.Headers)
				body := string(before.Body)
				p.mustSend(p.open(), o)
				if diff := difference(&before, o.Envelope); diff != "" {
					p.fail("after Send the caller's envelope is changed: %s", diff)
				}
				if !maps.Equal(before.Headers, o.Headers) || string(o.Body) != body {
					p.fail("after Send the headers or the body of the caller's envelope are changed")
				}
			},
		},
	}
}

// bad makes an envelope that every broker refuses: its topic is illegal.
func (p *probe) bad(key string) bus.Outgoing {
	return bus.Outgoing{Topic: "no topic", Envelope: p.envelope(key)}
}

// failures makes, for every way to fail that this broker has, an envelope that does.
func (p *probe) failures(key func(kind string) string) map[string]bus.Outgoing {
	out := map[string]bus.Outgoing{"illegal topic": p.bad(key("illegal topic"))}
	if p.h.Missing != nil {
		out["unroutable"] = p.batch(p.h.Missing(p), key("unroutable"))[0]
	}
	if why, _ := needsMaxBody()(p.t.Capabilities(), p.h); why == "" {
		o := p.batch(p.h.NewTopic(p), key("too large"))[0]
		o.Body = make([]byte, p.t.Capabilities().MaxBody+1)
		out["too large"] = o
	}
	return out
}

func prefixInOneBatch(p *probe) {
	for kind, bad := range p.failures(func(kind string) string { return "k " + kind }) {
		topic := p.h.NewTopic(p)
		src := p.subscribe(p.t, group(topic))
		sender := p.open()
		good := p.batch(topic, bad.Key, bad.Key, bad.Key)
		errs := p.send(sender, good[0], bad, good[1], good[2])
		if len(errs) != 4 || errs[1] == nil {
			continue // another case says so
		}
		for _, err := range errs[2:] {
			if !errors.Is(err, bus.ErrBehindFailed) {
				p.fail("behind a failed envelope (%s: %v) of the same key and batch, one answered %v", kind, errs[1], err)
			}
		}
		p.close("sender", sender.Close)
		for _, d := range p.receive(src, 1) {
			if d.ID != good[0].ID {
				p.fail("the broker took %q, which is behind a failed envelope (%s) of its key", d.Body, kind)
			}
			p.settle(src, d)
		}
		p.nothing(src, "behind a failed envelope ("+kind+")")
	}
}

func prefixForLife(p *probe) {
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, group(topic))
	for kind, bad := range p.failures(func(kind string) string { return "k " + kind }) {
		sender := p.open()
		if errs := p.send(sender, bad); len(errs) != 1 || errs[0] == nil {
			continue // another case says so
		}
		for range 3 {
			for _, err := range p.send(sender, p.batch(topic, bad.Key)...) {
				if !errors.Is(err, bus.ErrBehindFailed) {
					p.fail("a batch after a failed envelope (%s) of the same key answered %v", kind, err)
				}
			}
		}
		p.nothing(src, "after a failed envelope ("+kind+") of the same key and Sender")
	}
}

func keepsCallOrder(p *probe) {
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, ordered(topic))
	sender := p.open()
	const batches = 20
	var pending []bus.Pending
	var order []*sixfold.Envelope
	for range batches {
		batch := p.batch(topic, "k", "l", "k", "m", "k")
		for _, o := range batch {
			order = append(order, o.Envelope)
		}
		pending = append(pending, p.hand(sender, batch...))
	}
	for _, pd := range pending {
		if err := errors.Join(p.wait(pd)...); err != nil {
			p.fail("one of %d batches that followed each other failed: %v", batches, err)
		}
	}
	p.inOrder(p.receive(src, len(order)), order, "after Sends that followed each other without waiting")
}

func neverRepeats(p *probe) {
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, group(topic))
	sender := p.open()
	release := p.h.HoldConfirms(p)
	batch := p.batch(topic, "k", "l")
	pending := p.hand(sender, batch...)
	p.trySettle(src, false, p.arrive(src, batch)...) // the broker has them
	p.h.Cut(p)
	for _, err := range p.wait(pending) {
		if !errors.Is(err, bus.ErrUnavailable) {
			p.fail("what was in flight when the connection was lost answered %v", err)
		}
	}
	p.h.Restore(p)
	release()
	p.mustSend(p.open(), p.batch(topic, "after")...)
	for _, wait := range []time.Duration{p.cfg.Patience, p.cfg.Quiet, p.cfg.Quiet} { // the marker, and whatever else the broker has
		ds, _ := p.collect(src, 1, wait)
		for _, d := range ds {
			if !d.Redelivered && (d.ID == batch[0].ID || d.ID == batch[1].ID) {
				p.fail("%q, in flight when the connection was lost, was sent again", d.Body)
			}
		}
		if len(ds) > 0 {
			p.trySettle(src, false, ds...)
		}
	}
}
