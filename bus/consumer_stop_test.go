package bus_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// What runs finishes, what waits is given back in order, behind what it follows, and no attempt is counted.
// [StopBurnsNothing] guarantees: R2, K2
func TestStopFinishesWhatRunsAndGivesBackTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got trace
		c := f.consumer(t, &bus.Options{Concurrency: 1}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			if env.ID == "f1" {
				return errors.New("later")
			}
			time.Sleep(5 * time.Second)
			return ctx.Err()
		}))
		stop := start(t, c)
		f.deliver(msg("f1", "f"), msg("a1", "a"), msg("f2", "f"), msg("a2", "a"), msg("b1", "b"))
		synctest.Wait()
		f.deliver(msg("u1", ""))
		synctest.Wait()
		at := time.Now()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(at); d > 5*time.Second {
			t.Errorf("the stop took %v", d)
		}
		f.wantAcked(t, "a1")
		f.wantReleased(t, "f1 f2 a2 b1 u1")
		got.want(t, "f1 a1")
		if c.Health().State != bus.Stopped || !f.closed {
			t.Error("not closed")
		}
	})
}

// guarantees: R2
func TestStopGivesBackOtherKeysAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.consumer(t, &bus.Options{Concurrency: 1}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			time.Sleep(5 * time.Second)
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"), msg("b1", "b"))
		synctest.Wait()
		f.deliver(msg("u1", ""))
		synctest.Wait()
		go stop()
		pass(10 * time.Millisecond)
		f.wantReleased(t, "b1 u1")
		pass(5 * time.Second)
		f.wantReleased(t, "b1 u1 a2")
		f.wantAcked(t, "a1")
	})
}

// guarantees: R2, I9
func TestDrainLimitCancelsHandlersAndCountsThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.consumer(t, &bus.Options{DrainTimeout: 2 * time.Second, HandlerTimeout: time.Minute}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			<-ctx.Done()
			if env.ID == "done" {
				return nil
			}
			return ctx.Err()
		}))
		stop := start(t, c)
		f.deliver(msg("cancelled", "a"), msg("done", "b"))
		pass(time.Millisecond)
		at := time.Now()
		err := stop()
		var drain *sixfold.DrainError
		if !errors.As(err, &drain) || drain.InDoubt != 1 || !errors.Is(err, sixfold.ErrDrainTimeout) {
			t.Errorf("error: %v", err)
		}
		if d := time.Since(at); d < 2*time.Second || d > 3*time.Second {
			t.Errorf("the stop took %v", d)
		}
		f.wantAcked(t, "done")
		f.wantReleased(t, "cancelled")
	})
}

// Giving the subscription back has what is left of the drain limit, and 5 s where less is. guarantees: R2
func TestClosingHasWhatIsLeftOfTheDrainLimit(t *testing.T) {
	for _, c := range []struct {
		limit, closes time.Duration
		well          bool
	}{{30 * time.Second, 20 * time.Second, true}, {30 * time.Second, 31 * time.Second, false}, {time.Second, 4 * time.Second, true}, {time.Second, 6 * time.Second, false}} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.closes = c.closes
			stop := start(t, f.consumer(t, &bus.Options{DrainTimeout: c.limit}, raw(func(context.Context, *sixfold.Envelope) error { return nil })))
			f.deliver(msg("a1", "a"))
			pass(time.Millisecond)
			if err := stop(); (err == nil) != c.well || !c.well && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a close of %v with a drain limit of %v: %v", c.closes, c.limit, err)
			}
			f.wantAcked(t, "a1")
		})
	}
}

// A handler that ignores its context blocks its lane, is shown, and does not keep Run from ending. [HungHandler]
// guarantees: R2, I9
func TestHungHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.caps.ExtendEvery = 10 * time.Second
		hang := make(chan struct{})
		var got trace
		c := f.consumer(t, &bus.Options{Concurrency: 2, HandlerTimeout: time.Second}, raw(func(_ context.Context, env *sixfold.Envelope) error {
			if env.ID == "hung" {
				<-hang
				return nil
			}
			got.add(env.ID)
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("hung", "h"))
		synctest.Wait()
		f.deliver(msg("u1", ""), msg("u2", ""), msg("h2", "h"))
		pass(time.Minute)
		got.want(t, "u1 u2")
		if h := c.Health(); h.OldestType != "orders.placed" || h.OldestFor != time.Minute || h.InFlight != 2 {
			t.Errorf("health: %+v", h)
		}
		f.mu.Lock()
		if n := f.extended["hung"]; n != 6 {
			t.Errorf("extended %d times in a minute", n)
		}
		f.mu.Unlock()
		err := stop()
		var drain *sixfold.DrainError
		if !errors.As(err, &drain) || drain.InDoubt != 1 {
			t.Errorf("error: %v", err)
		}
		f.wantAcked(t, "u1 u2")
		close(hang) // and nothing breaks when it comes back
		synctest.Wait()
		f.wantAcked(t, "u1 u2")
	})
}

// guarantees: I9
func TestTimeoutCancelsTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.consumer(t, &bus.Options{Retry: sixfold.Retry{MaxAttempts: 1}, HandlerTimeout: 3 * time.Second}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			at := time.Now()
			below, cancel := context.WithCancel(ctx)
			defer cancel()
			<-below.Done()
			if d := time.Since(at); d != 3*time.Second || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
				t.Errorf("after %v: %v", d, ctx.Err())
			}
			return below.Err()
		}))
		stop := start(t, c)
		f.deliver(msg("slow", ""))
		pass(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
		if h := f.sent()[0].Headers; h[bus.DeadAttempts] != "1" || h[bus.DeadError] != `bus: handler of "orders.placed": it ran past HandlerTimeout (3s) and its context was cancelled: context deadline exceeded` {
			t.Errorf("headers: %v", h)
		}
	})
}

// guarantees: R2
func TestSettlementsAreNeverForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.mute = 1
		away := time.Now().Add(time.Minute)
		f.settle = func(bus.Settlement) error {
			if time.Now().Before(away) {
				return bus.ErrUnavailable
			}
			return nil
		}
		c := f.consumer(t, nil, raw(func(context.Context, *sixfold.Envelope) error { return nil }))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"), msg("b1", "b"))
		pass(30 * time.Second)
		if h := c.Health(); h.InFlight != 3 || !errors.Is(h.LastError, bus.ErrUnavailable) {
			t.Errorf("health: %+v", h)
		}
		pass(time.Minute)
		f.wantAcked(t, "a1 a2 b1")
		if h := c.Health(); h.InFlight != 0 {
			t.Errorf("health: %+v", h)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// guarantees: R2
func TestUnsettledAtTheEndIsInDoubt(t *testing.T) {
	for _, bad := range []error{bus.ErrUnavailable, bus.ErrClosed} {
		t.Run(bad.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				f.settle = func(bus.Settlement) error { return bad }
				c := f.consumer(t, nil, raw(func(context.Context, *sixfold.Envelope) error { return nil }))
				stop := start(t, c)
				f.deliver(msg("a1", "a"), msg("a2", "a"))
				time.Sleep(time.Second)
				var drain *sixfold.DrainError
				if err := stop(); !errors.As(err, &drain) || drain.InDoubt != 2 {
					t.Errorf("error: %v", err)
				}
			})
		})
	}
}

// guarantees: K2
func TestLostDeliveryIsDroppedAndItsHandlerCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		owned, lose := context.WithCancel(context.Background())
		var got trace
		c := f.consumer(t, &bus.Options{Concurrency: 1}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			if ctx.Value(lostKey{}) != nil {
				t.Error("a value of the subscription's context")
			}
			got.add(env.ID)
			if env.ID == "a1" {
				<-ctx.Done()
				return ctx.Err()
			}
			if env.ID == "f1" && sixfold.InfoFrom(ctx).Attempt == 1 {
				return sixfold.RetryAfter(time.Hour, errors.New("wait"))
			}
			return nil
		}))
		stop := start(t, c)
		ds := []*bus.Delivery{msg("f1", "f"), msg("a1", "a"), msg("a2", "a"), msg("u", "")}
		for _, d := range ds {
			d.Owned = context.WithValue(owned, lostKey{}, 1)
		}
		f.deliver(ds[:3]...)
		synctest.Wait()
		f.deliver(ds[3])
		pass(time.Second)
		lose()
		synctest.Wait()
		f.deliver(msg("b1", "b"), msg("f1", "f")) // the second did not wait behind the lost one
		pass(time.Second)
		got.want(t, "f1 a1 b1 f1")
		f.wantAcked(t, "b1")
		f.wantReleased(t, "")
		if err := stop(); err != nil {
			t.Error(err)
		}
		f.wantReleased(t, "f1")
	})
}

type lostKey struct{}

// What was taken away makes room, although it waits for an attempt in an hour.
func TestLostDeliveriesMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		owned, lose := context.WithCancel(context.Background())
		c, err := bus.NewConsumer(f, bus.Subscription{Topics: []string{"orders"}, Group: "g", MaxInFlight: 2}, &bus.Options{Logger: quiet()},
			raw(func(_ context.Context, env *sixfold.Envelope) error {
				if env.ID == "new" {
					return nil
				}
				return sixfold.RetryAfter(time.Hour, errors.New("wait"))
			}))
		if err != nil {
			t.Fatal(err)
		}
		stop := start(t, c)
		ds := []*bus.Delivery{msg("a", "a"), msg("u", "")}
		for _, d := range ds {
			d.Owned = owned
		}
		f.deliver(append(ds, msg("new", "n"))...)
		pass(time.Minute)
		f.wantAcked(t, "")
		lose()
		pass(2 * time.Second)
		f.wantAcked(t, "new")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
