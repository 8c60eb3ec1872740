package bustest

import (
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// settleCases are the sentences about Settle and Extend (guarantees: R2, R5).
func settleCases() []Case {
	return []Case{
		{
			Name:   "Settle/AcknowledgedIsGone",
			Says:   "Settle acknowledges: nil when the broker took it as far as it says so",
			Advice: "flush what you buffer of acknowledgements before Settle returns, or at the latest in Close",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "a", "b", "c")...)
				p.settle(src, p.receive(src, 3)...)
				p.close("source", src.Close)
				p.nothing(p.subscribe(p.another(), group(topic)), "after all messages were acknowledged with nil")
			},
		},
		{
			Name:   "Settle/OneErrorEach",
			Says:   "Settle answers one error per settlement",
			Advice: "answer a slice of the settlements' length and put each result at its index",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "a", "b", "c", "d")...)
				ds := p.receive(src, 4)
				p.settle(src, ds[3])
				if errs := p.trySettle(src, false, ds...); len(errs) != 4 || errors.Join(errs[:3]...) != nil {
					p.fail("of four settlements only the last was settled before; Settle answered %v", errs)
				}
				if errs := p.trySettle(src, false); len(errs) != 0 {
					p.fail("Settle of nothing answered %v", errs)
				}
			},
		},
		{
			Name:   "Settle/SettledIsLost", // [StaleSettleRefused]
			Says:   "What is no longer ours answers ErrLost: what was settled before",
			Advice: "keep what is delivered and not settled in the source, and look the delivery's Token up in it",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "k")...)
				d := p.receive(src, 1)[0]
				p.settle(src, d)
				for _, release := range []bool{false, true} {
					for _, err := range p.trySettle(src, release, d) {
						if !errors.Is(err, bus.ErrLost) {
							p.fail("a second Settle (release=%v) answered %v", release, err)
						}
					}
				}
			},
		},
		{
			Name:   "Settle/RevokedIsLost", // [StaleSettleRefused]
			Says:   "What is no longer ours answers ErrLost: what was revoked",
			Advice: "drop a delivery from the source when its lease or partition is lost, and match by delivery, not by message id",
			needs:  []need{needsRevoke()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "k")...)
				d := p.receive(src, 1)[0]
				p.h.Revoke(p, p.t, src)
				again := p.receive(src, 1)[0]
				for _, err := range p.trySettle(src, false, d) {
					if !errors.Is(err, bus.ErrLost) {
						p.fail("Settle of a revoked delivery answered %v", err)
					}
				}
				p.settle(src, again) // fails when the stale one has settled it
			},
		},
		{
			Name:   "Settle/ReleasedComesAgain",
			Says:   "A released delivery comes again, soon, to whoever receives",
			Advice: "give it back to the broker (nack with requeue, visibility 0), or keep it and hand it out again yourself",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "k")...)
				first := p.receive(src, 1)[0]
				p.release(src, first)
				if again := p.receive(src, 1)[0]; again.ID != first.ID {
					p.fail("%q was released and %q came", first.Body, again.Body)
				}
			},
		},
		{
			Name:   "Settle/ReleasedSaysRedelivered",
			Says:   "Redelivered says that the broker may have delivered it before: true too often is right, true too seldom is not",
			Advice: "set Redelivered on what was released, also where the driver hands it out again itself",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, "k", "l")...)
				p.release(src, p.receive(src, 2)...)
				ds, _ := p.collect(src, 2, p.cfg.Patience)
				for _, d := range ds {
					if !d.Redelivered {
						p.fail("%q was released and came again with Redelivered=false", d.Body)
					}
				}
			},
		},
		{
			Name:   "Extend/KeepsOurs",
			Says:   "Extend keeps deliveries ours while their handlers run",
			Advice: "renew the lease (InProgress, visibility, heartbeat) of each delivery, and state an ExtendEvery well below the lease",
			test: func(p *probe) {
				const tries = 10
				for range tries {
					if p.keepsOurs() {
						return
					}
				}
				p.fail("%d times in a row a delivery was lost, each time because the machine came to Extend too late", tries)
			},
		},
	}
}

// keepsOurs extends a delivery for longer than its lease. It reports false when the delivery was lost because Extend came late: the
// machine stood still, which is nobody's fault and says nothing.
func (p *probe) keepsOurs() bool {
	p.Helper()
	rounds, every := 6, p.t.Capabilities().ExtendEvery
	if every == 0 {
		rounds, every = 1, p.cfg.Quiet
	}
	topic := p.h.NewTopic(p)
	src := p.subscribe(p.t, group(topic))
	ours := time.Now() // it is, from then on at the earliest
	late := func() bool { return time.Since(ours) > 2*every }
	p.mustSend(p.open(), p.batch(topic, "k")...)
	ds := p.receive(src, 1)
	other := p.subscribe(p.another(), group(topic))
	for range rounds {
		came, _ := p.collect(other, 1, every)
		if len(came) > 0 {
			if late() {
				return false
			}
			p.fail("a delivery that was extended every %v came to another member", every)
		}
		again := time.Now()
		err := within(p, p.cfg.Patience, "Extend", func(ctx context.Context) error { return src.Extend(ctx, ds) })
		if err != nil {
			if late() {
				return false
			}
			p.fail("Extend every %v answered %v", every, err)
		}
		ours = again
	}
	if err := errors.Join(p.trySettle(src, false, ds...)...); err != nil {
		if late() {
			return false
		}
		p.fail("acknowledging a delivery that was extended failed: %v", err)
	}
	return true
}
