package saga_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store/memory"
)

func TestStepIsOneTransaction(t *testing.T) { // guarantees: S1, I7
	p := newProgram(t, nil)
	r := p.receiver(t, p.define(t).Routes()...)
	p.fail = func(step string) error { return errOnPurpose }
	if err := r.Deliver(t.Context(), Subscribed{"s-1"}); !errors.Is(err, errOnPurpose) {
		t.Fatalf("the step failed, and the delivery says: %v", err)
	}
	if n := len(p.instances(t, "s-1")); n != 0 {
		t.Errorf("a step failed and %d instances are there", n)
	}
	if n := len(sixfoldtest.Published[Charge](t, p.Outbox)); n != 0 {
		t.Errorf("a step failed and %d messages were published", n)
	}
	if n := len(sixfoldtest.Scheduled[Due](t, p.Store.Schedule())); n != 0 {
		t.Errorf("a step failed and %d timers were set", n)
	}
	p.fail = nil
	must(t, r.Deliver(t.Context(), Subscribed{"s-2"}))
	in := p.one(t, "s-2")
	if in.Status != saga.Running || in.Version != 1 || in.Generation != 1 || string(in.State) != `{"charged":1,"paid":0}` || len(in.Timers) != 1 || in.Step != "billing.subscribed" {
		t.Errorf("the instance is %+v with state %s", in, in.State)
	}
	if n := len(sixfoldtest.Published[Charge](t, p.Outbox)); n != 1 {
		t.Errorf("%d messages were published", n)
	}
	if ts := sixfoldtest.Scheduled[Due](t, p.Store.Schedule()); len(ts) != 1 || ts[0].ID != in.Timers[0].ID {
		t.Errorf("timers %+v, the instance knows %+v", ts, in.Timers)
	}
}

func TestDuplicateTakesEffectOnce(t *testing.T) { // guarantees: I1, S4
	p := newProgram(t, nil)
	g := p.define(t)
	r := p.receiver(t, g.Routes()...)
	env, err := sixfold.NewEnvelope(t.Context(), "shop", nil, Subscribed{"s-1"})
	must(t, err)
	must(t, r.DeliverEnvelopes(t.Context(), env, env))
	if in := p.one(t, "s-1"); in.Version != 1 {
		t.Errorf("a message that came twice changed the instance %d times", in.Version)
	}
	if s := g.Stats(); s.Steps != 1 {
		t.Errorf("%+v", s)
	}
}

func TestDroppedAndCounted(t *testing.T) { // guarantees: S4
	p := newProgram(t, nil)
	g := p.define(t)
	r := p.receiver(t, g.Routes()...)
	must(t, r.Deliver(t.Context(), Paid{"s-1"}, Due{"s-1"}))
	must(t, r.Deliver(t.Context(), Subscribed{"s-1"}, Cancelled{"s-1"}, Paid{"s-1"}))
	if got, want := g.Stats(), (saga.Stats{Steps: 2, NoInstance: 1, Ended: 1, StaleTimers: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	in := p.one(t, "s-1")
	if in.Status != saga.Completed || in.Ended.IsZero() || len(in.Timers) != 0 {
		t.Errorf("the instance is %+v", in)
	}
	if ts := sixfoldtest.Scheduled[Due](t, p.Store.Schedule()); len(ts) != 0 {
		t.Errorf("the instance has ended, and %d of its timers wait", len(ts))
	}
}

func TestRequiredWaitsForTheStart(t *testing.T) {
	p := newProgram(t, nil)
	g, err := saga.Define("renewal", p.box, saga.StartedBy(bySubscription[Subscribed], p.subscribed), saga.On(bySubscription[Paid], p.paid).Required(), saga.OnTimeout(p.due))
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		p.start(t, g.Routes()...)
		p.publish(t, Paid{"s-1"})
		sixfoldtest.Advance(time.Minute)
		if s := g.Stats(); s.FailedSteps < 2 || s.NoInstance != 0 {
			t.Errorf("%+v: a message that is required should be tried again", s)
		}
		p.publish(t, Subscribed{"s-1"}) // of the same key
		sixfoldtest.Advance(5 * time.Minute)
		if in := p.one(t, "s-1"); !strings.Contains(string(in.State), `"paid":1`) {
			t.Errorf("the payment came too early and was lost: %s", in.State)
		}
	})
}

func TestTwoStartsMakeOneInstance(t *testing.T) { // guarantees: S7
	p := newProgram(t, nil)
	g := p.define(t)
	var wg sync.WaitGroup
	for range 20 {
		r := p.receiver(t, g.Routes()...)
		wg.Go(func() {
			if err := r.Deliver(t.Context(), Subscribed{"s-1"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all := p.instances(t, "s-1")
	if len(all) != 1 || all[0].Version != 20 || !strings.Contains(string(all[0].State), `"charged":20`) {
		t.Errorf("20 starts at once made %d instances; the last one is %+v with state %s", len(all), all[len(all)-1], all[len(all)-1].State)
	}
}

func TestThousandMessagesForOneInstance(t *testing.T) { // guarantees: S7
	p := newProgram(t, nil)
	g := p.define(t)
	must(t, p.receiver(t, g.Routes()...).Deliver(t.Context(), Subscribed{"s-1"}))
	const workers, each = 20, 50
	var wg sync.WaitGroup
	for range workers {
		r := p.receiver(t, g.Routes()...)
		wg.Go(func() {
			for range each {
				if err := r.Deliver(t.Context(), Paid{"s-1"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if in := p.one(t, "s-1"); in.Version != workers*each+1 || !strings.Contains(string(in.State), `"paid":1000`) {
		t.Errorf("1,000 payments at once: version %d, state %s", in.Version, in.State)
	}
}

// conflicting is a store whose first saves lose, although the transaction is sound.
type conflicting struct {
	saga.Store
	left int
}

func (c *conflicting) Instances() saga.InstanceStore {
	return conflictingInstances{c.Store.Instances(), c}
}

type conflictingInstances struct {
	saga.InstanceStore
	c *conflicting
}

func (i conflictingInstances) Save(ctx context.Context, tx sqltx.Tx, in *saga.Instance, e *saga.Entry) error {
	if i.c.left--; i.c.left >= 0 {
		return saga.ErrConflict
	}
	return i.InstanceStore.Save(ctx, tx, in, e)
}

// [SagaConflictFreshTx]: a conflict runs again in a fresh transaction, with the state loaded again, and is no attempt.
func TestConflictFreshTransaction(t *testing.T) { // guarantees: S7, I8
	c := &conflicting{left: 20}
	p := newProgram(t, func(st saga.Store) saga.Store { c.Store = st; return c })
	seen := map[*memory.Tx]int{}
	g, err := saga.Define("renewal", p.box, saga.StartedBy(bySubscription[Subscribed],
		func(ctx context.Context, tx *memory.Tx, s *subscription, m Subscribed, fx *saga.Effects) error {
			s.Seen++
			seen[tx] = s.Seen
			if n := sixfold.InfoFrom(ctx).Attempt; n != 1 {
				t.Errorf("a conflict counted as an attempt: it is number %d", n)
			}
			fx.Send(Charge(m))
			return nil
		}))
	must(t, err)
	synctest.Test(t, func(t *testing.T) {
		must(t, p.receiver(t, g.Routes()...).Deliver(t.Context(), Subscribed{"s-1"})) // which makes one attempt only
	})
	if len(seen) != 21 {
		t.Errorf("20 conflicts ran in %d transactions", len(seen))
	}
	for _, n := range seen {
		if n != 1 {
			t.Errorf("a state was used again after a conflict: it was changed %d times", n)
		}
	}
	if s := g.Stats(); s.Conflicts != 20 || s.Steps != 1 || s.FailedSteps != 0 {
		t.Errorf("%+v", s)
	}
	if n := len(sixfoldtest.Published[Charge](t, p.Outbox)); n != 1 {
		t.Errorf("%d messages of one step were published", n)
	}
}

// A message that begins an instance cannot be dropped: the instance is there already. Nothing of it stays.
func TestDropBeginsNothing(t *testing.T) { // guarantees: S1
	p := newProgram(t, nil)
	g, err := saga.Define("dropper", p.box, saga.StartedBy(func(m Subscribed) string { return m.ID },
		func(_ context.Context, _ *memory.Tx, _ *subscription, _ Subscribed, fx *saga.Effects) error {
			fx.Drop()
			return nil
		}))
	must(t, err)
	if err := p.receiver(t, g.Routes()...).Deliver(t.Context(), Subscribed{"s-1"}); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "begins an instance") {
		t.Errorf("dropped at its beginning: %v", err)
	}
	if n := len(p.instances(t, "s-1")); n != 0 {
		t.Errorf("%d instances are there", n)
	}
}
