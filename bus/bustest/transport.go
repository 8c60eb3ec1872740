package bustest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sixfold-go/sixfold/bus"
)

// transportCases are the sentences about Transport itself.
func transportCases() []Case {
	return []Case{
		{
			Name:   "Transport/ConcurrentUse",
			Says:   "Transport is safe for concurrent use",
			Advice: "guard what the transport shares (the connection, the list of what is open) with a mutex, and run this with -race",
			test:   concurrentUse,
		},
		{
			Name:   "Transport/CapabilitiesStay",
			Says:   "Capabilities are what the driver can keep, the same for its whole life",
			Advice: "fix the capabilities when the transport is made; ask the broker then",
			test: func(p *probe) {
				before := p.t.Capabilities()
				topic := p.h.NewTopic(p)
				src, sender := p.subscribe(p.t, group(topic)), p.open()
				p.mustSend(sender, p.batch(topic, "k")...)
				p.settle(src, p.receive(src, 1)...)
				if after := p.t.Capabilities(); after != before {
					p.fail("they were %+v, and after some use %+v", before, after)
				}
				p.close("transport", p.t.Close)
				if after := p.t.Capabilities(); after != before {
					p.fail("they were %+v, and after Close %+v", before, after)
				}
			},
		},
		{
			Name:   "Transport/CloseTwice",
			Says:   "Close is safe to call twice",
			Advice: "remember that it is closed, and answer nil",
			test: func(p *probe) {
				p.close("transport", p.t.Close)
				p.close("transport, the second", p.t.Close)
			},
		},
		{
			Name:   "Transport/CloseEndsSenders",
			Says:   "Senders answer ErrClosed after the Close of their transport",
			Advice: "let Close of the transport mark its senders, and answer ErrClosed for each envelope before anything else",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.subscribe(p.t, group(topic))
				sender := p.open()
				p.mustSend(sender, p.batch(topic, "k")...)
				p.close("transport", p.t.Close)
				for _, err := range p.send(sender, p.batch(topic, "l")...) {
					if !errors.Is(err, bus.ErrClosed) {
						p.fail("Send after Close of the transport answered %v", err)
					}
				}
			},
		},
		{
			Name:   "Transport/CloseEndsSources",
			Says:   "Sources answer ErrClosed after the Close of their transport",
			Advice: "let Close of the transport end every source: wake a blocked Receive, and answer ErrClosed from then on",
			test:   closeEndsSources,
		},
		{
			Name:   "Transport/KeepsUsersConnection",
			Says:   "Close ends what the driver opened itself, never a connection or client that the user gave it",
			Advice: "remember whether the connection is the user's, and leave that one open",
			needs:  []need{needsBorrowed()},
			test: func(p *probe) {
				t, alive := p.h.Borrowed(p)
				if err := alive(); err != nil {
					p.fail("the connection is not usable before the case: %v", err)
				}
				topic := p.h.NewTopic(p)
				src := p.subscribe(t, group(topic))
				p.close("source", src.Close)
				p.close("transport", t.Close)
				if err := alive(); err != nil {
					p.fail("after Close of the transport the user's connection is not usable: %v", err)
				}
			},
		},
		{
			Name:   "Open/Refused",
			Says:   "Open fails at once, with ErrRefused, on refused credentials or a protocol error; it does not retry",
			Advice: "map the broker's authentication, authorization and protocol errors to ErrRefused, and return without another try",
			needs:  []need{needsRefused()},
			test: func(p *probe) {
				t := p.h.Refused(p)
				p.Cleanup(func() { t.Close(context.Background()) })
				if _, err := p.tryOpen(t); !errors.Is(err, bus.ErrRefused) {
					p.fail("with refused credentials Open answered %v", err)
				}
			},
		},
		{
			Name:   "Open/Unavailable",
			Says:   "Open fails with ErrUnavailable where the broker cannot be reached; it does not retry",
			Advice: "give the connection attempt one try and map what it answers to ErrUnavailable; whoever called retries",
			needs:  []need{needsCut()},
			test: func(p *probe) {
				p.h.Cut(p)
				_, err := p.tryOpen(p.t)
				p.h.Restore(p)
				if !errors.Is(err, bus.ErrUnavailable) {
					p.fail("with the broker cut off Open answered %v", err)
				}
				if errors.Is(err, context.DeadlineExceeded) {
					p.fail("with the broker cut off Open tried until its context ended: %v", err)
				}
			},
		},
		{
			Name:   "Subscribe/Refused",
			Says:   "Subscribe fails like Open: with ErrRefused on refused credentials or a protocol error",
			Advice: "map the broker's authentication, authorization and protocol errors to ErrRefused, and return without another try",
			needs:  []need{needsRefused()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				t := p.h.Refused(p)
				p.Cleanup(func() { t.Close(context.Background()) })
				if _, err := p.trySubscribe(t, group(topic)); !errors.Is(err, bus.ErrRefused) {
					p.fail("with refused credentials Subscribe answered %v", err)
				}
			},
		},
		{
			Name:   "Subscribe/Unavailable",
			Says:   "Subscribe fails like Open: with ErrUnavailable where the broker cannot be reached; it does not retry",
			Advice: "give the connection attempt one try and map what it answers to ErrUnavailable; only an open Source reconnects",
			needs:  []need{needsCut()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				p.h.Cut(p)
				_, err := p.trySubscribe(p.t, group(topic))
				p.h.Restore(p)
				if !errors.Is(err, bus.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
					p.fail("with the broker cut off Subscribe answered %v", err)
				}
			},
		},
	}
}

func concurrentUse(p *probe) {
	const users = 8
	topics := make([]string, users)
	for i := range topics {
		topics[i] = p.h.NewTopic(p)
	}
	batches := make([][]bus.Outgoing, users)
	for i := range batches {
		batches[i] = p.batch(topics[i], "a", "b", "c")
	}
	type result struct{ errs []error }
	r := within(p, p.cfg.Patience, "use by several goroutines", func(ctx context.Context) result {
		errs := make([]error, users)
		var all sync.WaitGroup
		for i := range users {
			all.Go(func() { errs[i] = use(ctx, p.t, topics[i], batches[i]) })
		}
		all.Wait()
		return result{errs}
	})
	if err := errors.Join(r.errs...); err != nil {
		p.fail("%d goroutines used one transport at once: %v", users, err)
	}
}

// use is the life of one user of a transport.
func use(ctx context.Context, t bus.Transport, topic string, batch []bus.Outgoing) error {
	t.Capabilities()
	sender, err := t.Open(ctx)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer sender.Close(ctx)
	src, err := t.Subscribe(ctx, group(topic))
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	defer src.Close(ctx)
	if err := errors.Join(sender.Send(ctx, batch).Wait(ctx)...); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	for got := 0; got < len(batch); {
		ds, err := src.Receive(ctx, len(batch))
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		got += len(ds)
	}
	return nil
}

func closeEndsSources(p *probe) {
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, group(topic))
	p.mustSend(p.open(), p.batch(topic, "k")...)
	ds := p.receive(src, 1)
	blocked := p.background(func(ctx context.Context) (_ []*bus.Delivery, err error) {
		for err == nil {
			_, err = src.Receive(ctx, 10)
		}
		return nil, err
	})
	p.listen(blocked)
	p.close("transport", p.t.Close)
	if r := p.await(blocked); !errors.Is(r.err, bus.ErrClosed) {
		p.fail("a Receive that was under way at Close of the transport answered %v", r.err)
	}
	if _, err := p.collect(src, 1, p.cfg.Patience); !errors.Is(err, bus.ErrClosed) {
		p.fail("Receive after Close of the transport answered %v", err)
	}
	for _, err := range p.trySettle(src, false, ds...) {
		if !errors.Is(err, bus.ErrClosed) {
			p.fail("Settle after Close of the transport answered %v", err)
		}
	}
}
