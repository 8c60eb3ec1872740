package bustest

import (
	"bytes"
	"context"
	"errors"

	"github.com/sixfold-go/sixfold/bus"
)

// sourceCases are the sentences about Receive, Close, deaths and ownership.
func sourceCases() []Case {
	return []Case{
		{
			Name:   "Receive/Blocks",
			Says:   "Receive blocks until it has at least one delivery or ctx ends",
			Advice: "wait again when the broker answers an empty fetch; never answer no deliveries without an error",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				got := p.background(func(ctx context.Context) ([]*bus.Delivery, error) { return src.Receive(ctx, 10) })
				if r, ended := p.listen(got); ended {
					p.fail("with nothing sent, Receive answered %d deliveries and the error %v", len(r.ds), r.err)
				}
				p.mustSend(p.open(), p.batch(topic, "k")...)
				if r := p.await(got); len(r.ds) == 0 {
					p.fail("after a message was sent, a blocked Receive answered no delivery and the error %v", r.err)
				}
			},
		},
		{
			Name:   "Receive/AtMostMax",
			Says:   "Receive answers at most max",
			Advice: "fetch no more than max, or keep the rest for the next call",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, repeat("", 10)...)...)
				for _, max := range []int{1, 3} {
					n := within(p, p.cfg.Patience, "Receive", func(ctx context.Context) int {
						ds, _ := src.Receive(ctx, max)
						return len(ds)
					})
					if n > max {
						p.fail("with max %d, Receive answered %d", max, n)
					}
				}
			},
		},
		{
			Name:   "Receive/EndsWithContext",
			Says:   "Errors end the source: ErrRefused, ErrClosed, or ctx's own",
			Advice: "watch ctx.Done() beside the broker, and wrap ctx.Err() with %w",
			test: func(p *probe) {
				src := p.subscribe(p.t, group(p.h.NewTopic(p)))
				err := within(p, p.cfg.Quiet, "Receive", func(ctx context.Context) error {
					for {
						ended := ctx.Err() != nil
						if _, err := src.Receive(ctx, 10); err != nil || ended {
							return err
						}
					}
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					p.fail("when its context's deadline passed, Receive answered %v", err)
				}
			},
		},
		{
			Name:   "Receive/BesideSettle",
			Says:   "One goroutine calls Receive; another may call Settle and Extend meanwhile, one call at a time",
			Advice: "hold no mutex while Receive waits for the broker, and run this with -race",
			test:   besideSettle,
		},
		{
			Name:   "Receive/BlocksWhileAway",
			Says:   "It owns its reconnecting: while the broker is away Receive blocks",
			Advice: "reconnect inside the Source, with a growing delay, for ever; take up the group (durable, queue) by its name",
			needs:  []need{needsCut()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.h.Cut(p)
				got := p.background(func(ctx context.Context) (ds []*bus.Delivery, err error) {
					for len(ds) == 0 && err == nil {
						ds, err = src.Receive(ctx, 10)
					}
					return ds, err
				})
				r, ended := p.listen(got)
				p.h.Restore(p)
				if ended {
					p.fail("with the broker cut off Receive answered %d deliveries and the error %v", len(r.ds), r.err)
				}
				p.mustSend(p.open(), p.batch(topic, "k")...)
				if r := p.await(got); len(r.ds) == 0 {
					p.fail("after the broker was back and a message was sent, Receive answered %d deliveries and the error %v", len(r.ds), r.err)
				}
			},
		},
		{
			Name:   "Receive/Damaged",
			Says:   "An envelope that cannot be read is delivered with Damaged set; Body then holds the bytes as they came",
			Advice: "deliver what you cannot decode, so that it becomes a dead letter: never skip, acknowledge or fail on it",
			needs:  []need{needsDamage()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				body := []byte("\x00{no envelope")
				p.h.Damage(p, topic, body)
				d := p.receive(src, 1)[0]
				if d.Damaged == nil || !bytes.Equal(d.Body, body) {
					p.fail("bytes that are no envelope arrived as Damaged=%v with the body %q", d.Damaged, d.Body)
				}
				p.settle(src, d)
			},
		},
		{
			Name:   "Source/CloseGivesBack",
			Says:   "Close gives back what was delivered and not settled",
			Advice: "release (nack with requeue, drop the lease of) everything unsettled at Close, and acknowledge nothing",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				batch := p.batch(topic, "k", "l")
				p.mustSend(p.open(), batch...)
				p.receive(src, 2)
				p.close("source", src.Close)
				got := ids(p.receive(p.subscribe(p.another(), group(topic)), 2))
				if got[batch[0].ID] == 0 || got[batch[1].ID] == 0 {
					p.fail("two were delivered and not settled at Close, and others arrived after it")
				}
			},
		},
		{
			Name:   "Source/CloseEndsIt",
			Says:   "Receive and Settle answer ErrClosed after Close",
			Advice: "mark the source closed first, then wake Receive",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "k")...)
				ds := p.receive(src, 1)
				p.close("source", src.Close)
				if _, err := p.collect(src, 1, p.cfg.Patience); !errors.Is(err, bus.ErrClosed) {
					p.fail("Receive after Close answered %v", err)
				}
				for _, err := range p.trySettle(src, false, ds...) {
					if !errors.Is(err, bus.ErrClosed) {
						p.fail("Settle after Close answered %v", err)
					}
				}
			},
		},
		{
			Name:   "Death/ComesAgain",
			Says:   "a Source is shared by every process which names the same group: what a dead one had not settled comes to another",
			Advice: "acknowledge only in Settle (no automatic acks), and let the broker notice a dead connection (heartbeat, lease)",
			needs:  []need{needsKill()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				first := p.another()
				src := p.subscribe(first, group(topic))
				batch := p.batch(topic, "a", "b", "c", "d", "e")
				p.mustSend(p.open(), batch...)
				p.arrive(src, batch)
				p.h.Kill(p, first, src)
				ds, _ := p.collectAll(p.subscribe(p.t, group(topic)), batch, p.redelivery())
				for _, o := range batch {
					if ids(ds)[o.ID] == 0 {
						p.fail("of %d that a dead process had, %s came again within %v", len(batch), bodies(ds), p.redelivery())
					}
				}
			},
		},
		{
			Name:   "Death/SaysRedelivered",
			Says:   "Redelivered says that the broker may have delivered it before: true too often is right, true too seldom is not",
			Advice: "pass the broker's flag or count on; where it has none, say true for what an earlier owner may have had",
			needs:  []need{needsKill()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				first := p.another()
				src := p.subscribe(first, group(topic))
				batch := p.batch(topic, "k", "l")
				p.mustSend(p.open(), batch...)
				p.arrive(src, batch)
				p.h.Kill(p, first, src)
				ds, _ := p.collectAll(p.subscribe(p.t, group(topic)), batch, p.redelivery())
				for _, d := range ds {
					if !d.Redelivered {
						p.fail("what a dead process had came again with Redelivered=false")
					}
				}
			},
		},
		{
			Name:   "Owned/EndsWhenRevoked",
			Says:   "Owned ends when the delivery is no longer ours (revoked, lease lost)",
			Advice: "give the deliveries of a partition (a lane, a lease) one context, and cancel it when it is lost",
			needs:  []need{needsRevoke()},
			test: func(p *probe) {
				p.ownedEnds(group(p.h.NewTopic(p)))
				if p.t.Capabilities().OrderPerKey {
					p.ownedEnds(ordered(p.h.NewTopic(p)))
				}
			},
		},
		{
			Name:   "Owned/LastsWhileOurs",
			Says:   "Owned ends when the delivery is no longer ours: not before",
			Advice: "do not derive Owned from the context of a call",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "k")...)
				d := p.receive(src, 1)[0]
				p.nothing(src, "after the only message")
				if d.Owned != nil && d.Owned.Err() != nil {
					p.fail("Owned of a delivery that is ours has ended: %v", d.Owned.Err())
				}
				p.settle(src, d)
			},
		},
	}
}

// ownedEnds revokes a delivery.
func (p *probe) ownedEnds(sub bus.Subscription) {
	p.Helper()
	src := p.subscribe(p.t, sub)
	p.mustSend(p.open(), p.batch(sub.Topics[0], "k")...)
	d := p.receive(src, 1)[0]
	if d.Owned == nil {
		p.fail("Owned is nil, although deliveries can be revoked on this broker")
	}
	p.h.Revoke(p, p.t, src)
	limit, cancel := context.WithTimeout(p.Context(), p.redelivery())
	defer cancel()
	select {
	case <-d.Owned.Done():
	case <-limit.Done():
		p.fail("%v after the delivery was revoked (ordered: %v), Owned has not ended", p.redelivery(), sub.Ordered)
	}
}

func besideSettle(p *probe) {
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, group(topic))
	p.mustSend(p.open(), p.batch(topic, "k", "l")...)
	ds := p.receive(src, 2)
	got := p.background(func(ctx context.Context) (ds []*bus.Delivery, err error) {
		for len(ds) == 0 && err == nil {
			ds, err = src.Receive(ctx, 10)
		}
		return ds, err
	})
	if r, ended := p.listen(got); ended {
		p.fail("with nothing more sent, Receive answered %d deliveries and the error %v", len(r.ds), r.err)
	}
	if err := within(p, p.cfg.Patience, "Extend", func(ctx context.Context) error { return src.Extend(ctx, ds) }); err != nil {
		p.fail("beside a Receive that waits, Extend answered %v", err)
	}
	for _, d := range ds {
		if err := errors.Join(p.trySettle(src, false, d)...); err != nil {
			p.fail("beside a Receive that waits, Settle answered %v", err)
		}
	}
}
