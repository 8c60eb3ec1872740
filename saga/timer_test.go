package saga_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

func TestAYearOfRenewals(t *testing.T) { // guarantees: S2, S5
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, nil)
		g := p.define(t)
		p.start(t, g.Routes()...)
		p.publish(t, Subscribed{"s-1"})
		for n := 1; n <= 12; n++ {
			sixfoldtest.Advance(month / 2)
			if got := len(sixfoldtest.Published[Charge](t, p.Outbox)); got != n {
				t.Fatalf("in the middle of month %d there are %d charges", n, got)
			}
			p.publish(t, Paid{"s-1"})
			sixfoldtest.Advance(month / 2)
		}
		// The 13th charge was sent at the end of the year, and is not paid.
		sixfoldtest.Advance(month + time.Minute)
		in := p.one(t, "s-1")
		if in.Status != saga.Failed || in.Reason != "not paid" || in.Generation != 1 || len(in.Timers) != 0 {
			t.Errorf("the instance is %+v", in)
		}
		if n := len(sixfoldtest.Published[Charge](t, p.Outbox)); n != 13 {
			t.Errorf("%d charges in a year and a month", n)
		}
		if n := len(sixfoldtest.Published[Lapsed](t, p.Outbox)); n != 1 {
			t.Errorf("it lapsed %d times", n)
		}
		sixfoldtest.Advance(2 * month)
		if s := g.Stats(); s.StaleTimers != 0 || s.Steps != 26 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTimerIsNeverEarly(t *testing.T) { // guarantees: S5
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, nil)
		p.start(t, p.define(t).Routes()...)
		p.publish(t, Subscribed{"s-1"}, Paid{"s-1"})
		sixfoldtest.Advance(month - time.Millisecond)
		if n := len(sixfoldtest.Published[Charge](t, p.Outbox)); n != 1 {
			t.Errorf("a timer came early: %d charges", n)
		}
		sixfoldtest.Advance(time.Second)
		if n := len(sixfoldtest.Published[Charge](t, p.Outbox)); n != 2 {
			t.Errorf("a timer did not come: %d charges", n)
		}
	})
}

// [StaleTimerDropped]: the timer of an instance that has ended does not reach its successor, although it is on its way already.
func TestStaleTimerDropped(t *testing.T) { // guarantees: S4
	p := newProgram(t, nil)
	g := p.define(t)
	r := p.receiver(t, g.Routes()...)
	must(t, r.Deliver(t.Context(), Subscribed{"s-1"}, Paid{"s-1"}))
	old := p.timer(t, "s-1")
	must(t, r.Deliver(t.Context(), Cancelled{"s-1"}, Subscribed{"s-1"}, Paid{"s-1"}))
	all := p.instances(t, "s-1")
	if len(all) != 2 || all[1].Generation != 2 || all[1].ID == all[0].ID || all[1].Status != saga.Running || all[0].Status != saga.Completed {
		t.Fatalf("after a restart there are %+v", all)
	}
	fresh := p.timer(t, "s-1")
	must(t, r.DeliverEnvelopes(t.Context(), old))
	if in := p.one(t, "s-1"); in.Version != 2 {
		t.Errorf("the timer of a predecessor changed its successor: %+v", in)
	}
	must(t, r.DeliverEnvelopes(t.Context(), fresh))
	// Once more under another id, as from somebody who guesses: its key alone gives it no right.
	forged := *fresh
	forged.ID = sixfold.NewID()
	must(t, r.DeliverEnvelopes(t.Context(), &forged))
	if in := p.one(t, "s-1"); in.Version != 3 {
		t.Errorf("the instance's own timer should have changed it once: %+v", in)
	}
	if s := g.Stats(); s.StaleTimers != 2 {
		t.Errorf("%+v, want 2 stale timers", s)
	}
}

// timer answers the message of the only timer of an instance, as it will be sent.
func (p *program) timer(t *testing.T, key string) *sixfold.Envelope {
	t.Helper()
	in := p.one(t, key)
	if len(in.Timers) != 1 {
		t.Fatalf("the instance waits for %+v", in.Timers)
	}
	for _, l := range sixfoldtest.Scheduled[Due](t, p.Store.Schedule()) {
		if l.ID == in.Timers[0].ID {
			env, err := sixfold.NewEnvelope(t.Context(), "test", nil, l.Message)
			must(t, err)
			env.ID, env.Key = l.ID, key
			return env
		}
	}
	t.Fatal("the instance's timer does not wait")
	return nil
}

func TestCancelTimeout(t *testing.T) { // guarantees: S4
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, nil)
		came := 0
		var first string
		g, err := saga.Define("renewal", p.box,
			saga.StartedBy(bySubscription[Subscribed], func(_ context.Context, _ *memory.Tx, s *subscription, m Subscribed, fx *saga.Effects) error {
				first = fx.After(month, Due{"first"})
				fx.After(2*month, Due{"second"})
				fx.After(3*month, Due{"third"}, outbox.Expires(month))
				gone := fx.After(4*month, Due{"gone"})
				fx.CancelTimeout(gone) // in the step that set it
				return nil
			}),
			saga.On(bySubscription[Paid], func(_ context.Context, _ *memory.Tx, s *subscription, m Paid, fx *saga.Effects) error {
				fx.CancelTimeout(first)
				fx.CancelTimeout("nothing of that name")
				return nil
			}),
			saga.On(bySubscription[Cancelled], func(_ context.Context, _ *memory.Tx, s *subscription, m Cancelled, fx *saga.Effects) error {
				fx.CancelTimeout("billing.due")
				return nil
			}),
			saga.OnTimeout(func(_ context.Context, _ *memory.Tx, s *subscription, m Due, fx *saga.Effects) error {
				came++
				if m.ID != "second" {
					t.Errorf("timer %s came, and was cancelled", m.ID)
				}
				return nil
			}))
		must(t, err)
		p.start(t, g.Routes()...)
		p.publish(t, Subscribed{"s-1"}, Paid{"s-1"})
		sixfoldtest.Advance(time.Minute)
		if in := p.one(t, "s-1"); len(in.Timers) != 2 {
			t.Errorf("the instance waits for %+v", in.Timers)
		}
		sixfoldtest.Advance(2 * month)
		p.publish(t, Cancelled{"s-1"})
		sixfoldtest.Advance(3 * month)
		if came != 1 {
			t.Errorf("%d timers came", came)
		}
		if in := p.one(t, "s-1"); len(in.Timers) != 0 {
			t.Errorf("the instance waits for %+v", in.Timers)
		}
	})
}

// What is dropped changes nothing, the list of timers neither; the end of the instance clears that. guarantees: S4
func TestDroppedTimerStaysListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, nil)
		g, err := saga.Define("renewal", p.box, saga.StartedBy(bySubscription[Subscribed], p.subscribed), saga.On(bySubscription[Cancelled], p.cancelled),
			saga.OnTimeout(func(_ context.Context, _ *memory.Tx, s *subscription, _ Due, fx *saga.Effects) error {
				s.Charged++
				fx.Drop()
				return nil
			}))
		must(t, err)
		p.start(t, g.Routes()...)
		p.publish(t, Subscribed{"s-1"})
		sixfoldtest.Advance(month + time.Minute)
		if in := p.one(t, "s-1"); in.Version != 1 || len(in.Timers) != 1 || g.Stats().Dropped != 1 {
			t.Errorf("after a timer that was dropped it is %+v: %+v", in, g.Stats())
		}
		p.publish(t, Cancelled{"s-1"})
		sixfoldtest.Advance(2 * month)
		if in := p.one(t, "s-1"); in.Version != 2 || len(in.Timers) != 0 || g.Stats().Dropped != 1 {
			t.Errorf("when it has ended it is %+v: %+v", in, g.Stats())
		}
	})
}
