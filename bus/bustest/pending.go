package bustest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// pendingCases are the sentences about Pending, and those about the errors of sending (guarantees: R1, R7).
func pendingCases() []Case {
	return []Case{
		{
			Name:   "Wait/OneErrorEach",
			Says:   "Wait answers one error per envelope, in the batch's order",
			Advice: "answer a slice of the batch's length and put each result at its envelope's index",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				batch := append(p.batch(topic, "a", "b", "c", "d", "e", "f", "g", "h", "i"), p.bad("j"))
				errs := p.send(p.open(), batch...)
				if len(errs) != len(batch) {
					p.fail("for %d envelopes Wait answered %d errors", len(batch), len(errs))
				}
				for i, err := range errs {
					if bad := i == len(batch)-1; bad != (err != nil) {
						p.fail("only the last of %d envelopes is bad, and number %d answered %v", len(batch), i+1, err)
					}
				}
			},
		},
		{
			Name:   "Wait/EmptyBatch",
			Says:   "Wait answers one error per envelope: of an empty batch, none",
			Advice: "answer an empty slice at once",
			test: func(p *probe) {
				if errs := p.send(p.open()); len(errs) != 0 {
					p.fail("for an empty batch Wait answered %v", errs)
				}
			},
		},
		{
			Name:   "Wait/NilMeansTaken",
			Says:   "nil means that the broker has taken it",
			Advice: "answer nil only for the broker's own positive confirm, never for a successful write",
			needs:  []need{needsConfirms()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				sender := p.open()
				const n = 60
				for range n {
					p.mustSend(sender, p.batch(topic, "")...)
				}
				if ds, _ := p.collect(src, n, p.cfg.Patience); len(ids(ds)) < n {
					p.fail("%d envelopes answered nil, and %d arrived", n, len(ids(ds)))
				}
			},
		},
		{
			Name:   "Wait/BigBatch",
			Says:   "Wait answers one error per envelope: of 10,000 as well",
			Advice: "split what the client or the broker limits, and keep the order over the parts",
			test:   bigBatch,
		},
		{
			Name:   "Wait/Unroutable", // [UnroutableIsFailure]
			Says:   "ErrUnroutable says that the broker has no place for the topic",
			Advice: "a confirm does not mean routed: publish mandatory and match the return before the confirm, or look the stream up first",
			needs:  []need{needsMissing(), needsConfirms()},
			test: func(p *probe) {
				for _, err := range p.send(p.open(), p.batch(p.h.Missing(p), "k")...) {
					if !errors.Is(err, bus.ErrUnroutable) {
						p.fail("an envelope for a topic that does not exist answered %v", err)
					}
				}
			},
		},
		{
			Name:   "Wait/MayMissIsCounted",
			Says:   "MayMiss says that it is no failure: the driver still answers ErrUnroutable, so that it can be counted",
			Advice: "answer ErrUnroutable with MayMiss as without; MayMiss only spares the key",
			needs:  []need{needsMissing(), needsConfirms()},
			test: func(p *probe) {
				o := p.batch(p.h.Missing(p), "k")[0]
				o.MayMiss = true
				for _, err := range p.send(p.open(), o) {
					if !errors.Is(err, bus.ErrUnroutable) {
						p.fail("a MayMiss envelope for a topic that does not exist answered %v", err)
					}
				}
			},
		},
		{
			Name:   "Wait/TooLarge",
			Says:   "ErrTooLarge says that the envelope is over the broker's limit",
			Advice: "compare body and headers together with MaxBody before sending",
			needs:  []need{needsMaxBody()},
			test: func(p *probe) {
				if _, err := p.oversized(); !errors.Is(err, bus.ErrTooLarge) {
					p.fail("one byte over MaxBody (%d) answered %v", p.t.Capabilities().MaxBody, err)
				}
			},
		},
		{
			Name:   "Wait/TooLargeSaysHowMuch",
			Says:   "ErrTooLarge: its text has size and limit",
			Advice: "put both numbers, in bytes, into the error's text",
			needs:  []need{needsMaxBody()},
			test: func(p *probe) {
				size, err := p.oversized()
				if err == nil || !strings.Contains(err.Error(), strconv.Itoa(size)) || !strings.Contains(err.Error(), strconv.Itoa(size-1)) {
					p.fail("%d bytes over a limit of %d answered %q", size, size-1, err)
				}
			},
		},
		{
			Name:   "Wait/LargestIsTaken",
			Says:   "MaxBody is in bytes of body and headers together: what has exactly that many is taken",
			Advice: "state as MaxBody what is left of the broker's limit after the attributes and the protocol, and refuse only what is larger",
			needs:  []need{needsMaxBody()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				o := p.batch(topic, "k")[0]
				o.Headers = map[string]string{"header": "value"}
				o.Body = make([]byte, p.t.Capabilities().MaxBody-len("header")-len("value"))
				if err := errors.Join(p.send(p.open(), o)...); err != nil {
					p.fail("an envelope of exactly MaxBody (%d) answered %v", p.t.Capabilities().MaxBody, err)
				}
				if d := p.receive(src, 1)[0]; len(d.Body) != len(o.Body) {
					p.fail("of %d bytes %d arrived", len(o.Body), len(d.Body))
				}
			},
		},
		{
			Name:   "Wait/Refused",
			Says:   "ErrRefused says that the broker, or the driver on its behalf, does not take this: an illegal name",
			Advice: "check topics with sixfold.CheckTopic and the broker's own rules, and answer ErrRefused",
			test: func(p *probe) {
				for _, err := range p.send(p.open(), p.bad("k")) {
					if !errors.Is(err, bus.ErrRefused) {
						p.fail("an envelope for the topic %q answered %v", "no topic", err)
					}
				}
			},
		},
		{
			Name:   "Wait/Unavailable",
			Says:   "ErrUnavailable is nobody's fault: an outage",
			Advice: "map every error of the connection (refused, reset, EOF, closed by the server) to ErrUnavailable",
			needs:  []need{needsCut(), needsConfirms()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				sender := p.open()
				p.h.Cut(p)
				errs := p.send(sender, p.batch(topic, "k", "l")...)
				p.h.Restore(p)
				for _, err := range errs {
					if !errors.Is(err, bus.ErrUnavailable) {
						p.fail("with the broker cut off an envelope answered %v", err)
					}
				}
			},
		},
		{
			Name:   "Wait/EndedContextIsInDoubt",
			Says:   "When ctx ends, what is still open answers ctx's error and is in doubt",
			Advice: "wrap ctx.Err() for what has no answer yet, leave it open, and let a later Wait see the broker's answer",
			needs:  []need{needsHold(), needsConfirms()},
			test:   endedContextIsInDoubt,
		},
		{
			Name:   "Wait/Again",
			Says:   "Wait may be called again",
			Advice: "keep the results in the Pending; do not read a channel that only has them once",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				pending := p.hand(p.open(), p.batch(topic, "k")[0], p.bad("l"))
				first := p.wait(pending)
				second := p.wait(pending)
				if len(first) != len(second) {
					p.fail("the first Wait answered %v, the second %v", first, second)
				}
				for i := range first {
					if (first[i] == nil) != (second[i] == nil) {
						p.fail("the first Wait answered %v, the second %v", first, second)
					}
				}
			},
		},
		{
			Name:   "Wait/InOtherGoroutines",
			Says:   "Send is called by one goroutine at a time; Wait of its results may run in others",
			Advice: "let Wait share nothing with Send and other Waits but what a mutex guards, and run this with -race",
			test:   waitInOtherGoroutines,
		},
		{
			Name:   "Dedup/None",
			Says:   "DedupWindow 0: none: a second envelope of the same id is taken and delivered",
			Advice: "give the broker no dedup id, or state the window in Capabilities",
			needs:  []need{needsNoDedup()},
			test: func(p *probe) {
				if n := p.sameIDTwice(p.cfg.Patience); n != 2 {
					p.fail("an id was sent twice and arrived %d times", n)
				}
			},
		},
		{
			Name:   "Dedup/Window",
			Says:   "DedupWindow in which the broker drops a second envelope of the same id",
			Advice: "give the broker the envelope's id as its dedup id, and answer nil for the one that it drops",
			needs:  []need{needsDedup()},
			test: func(p *probe) {
				if n := p.sameIDTwice(p.cfg.Quiet); n != 1 {
					p.fail("an id was sent twice within the window (%v) and arrived %d times", p.t.Capabilities().DedupWindow, n)
				}
			},
		},
	}
}

// sameIDTwice answers how often an id arrives that was sent twice. It waits that long for the second arrival.
func (p *probe) sameIDTwice(wait time.Duration) int {
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, group(topic))
	sender := p.open()
	o := p.batch(topic, "")[0]
	p.mustSend(sender, o)
	p.mustSend(sender, o)
	ds := p.receive(src, 1)
	p.trySettle(src, false, ds...) // or it comes again by itself, when its lease passes
	more, _ := p.collect(src, 2-len(ds), wait)
	return len(ds) + len(more)
}

// oversized sends one byte too many.
func (p *probe) oversized() (size int, err error) {
	topic := p.h.NewTopic(p)
	p.subscribe(p.t, group(topic))
	size = p.t.Capabilities().MaxBody + 1
	o := p.batch(topic, "k")[0]
	o.Body = make([]byte, size)
	return size, errors.Join(p.send(p.open(), o)...)
}

func bigBatch(p *probe) {
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, group(topic))
	const n = 10_000
	batch := p.batch(topic, repeat("", n)...)
	errs := p.send(p.open(), batch...)
	if len(errs) != n {
		p.fail("for %d envelopes Wait answered %d errors", n, len(errs))
	}
	if err := errors.Join(errs...); err != nil {
		text := err.Error()
		p.fail("in a batch of %d some failed: %.200s", n, text)
	}
	got := make(map[string]bool, n)
	for len(got) < n {
		ds := p.receive(src, 1)
		for _, d := range ds {
			got[d.ID] = true
		}
		p.settle(src, ds...)
	}
}

func endedContextIsInDoubt(p *probe) {
	topic := p.h.NewTopic(p)
	p.subscribe(p.t, group(topic))
	release := p.h.HoldConfirms(p)
	pending := p.hand(p.open(), p.batch(topic, "k")...)
	errs := within(p, p.cfg.Quiet, "Wait", pending.Wait)
	for _, err := range errs {
		if !errors.Is(err, context.DeadlineExceeded) {
			p.fail("without a confirm, and with its context ended, Wait answered %v", err)
		}
	}
	release()
	if err := errors.Join(p.wait(pending)...); err != nil {
		p.fail("the confirm came after a Wait that had given up, and the next Wait answered %v", err)
	}
}

func waitInOtherGoroutines(p *probe) {
	topic := p.h.NewTopic(p)
	p.subscribe(p.t, group(topic))
	sender := p.open()
	const n = 20
	results := make([][]error, n)
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(p.Context(), p.cfg.Patience)
	defer cancel()
	for i := range n {
		pending := p.hand(sender, p.batch(topic, "", "")...)
		all.Go(func() { results[i] = pending.Wait(ctx) })
	}
	all.Wait()
	for _, errs := range results {
		if err := errors.Join(errs...); err != nil || len(errs) != 2 {
			p.fail("%d Waits ran at once, and one answered %v", n, errs)
		}
	}
}
