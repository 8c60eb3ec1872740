package parking

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// frozenStore is the inbox of a process whose heart stops: its lines are not kept any more.
type frozenStore struct {
	inbox.Store
	frozen atomic.Bool
}

func (f *frozenStore) Parking() inbox.Parking { return &frozenParking{f.Store.Parking(), f} }

type frozenParking struct {
	inbox.Parking
	store *frozenStore
}

func (p *frozenParking) Tend(ctx context.Context, keep []inbox.Hold, hold time.Duration, back []inbox.Return) ([]int64, error) {
	if p.store.frozen.Load() {
		return nil, errors.New("frozen")
	}
	return p.Parking.Tend(ctx, keep, hold, back)
}

func (p *frozenParking) Claim(ctx context.Context, consumer string, ask inbox.Ask) (inbox.Claimed, error) {
	if p.store.frozen.Load() {
		return inbox.Claimed{}, errors.New("frozen")
	}
	return p.Parking.Claim(ctx, consumer, ask)
}

// A process that froze with a parked message in hand, and wakes up when another one has handled it, has no effect, and the
// attempt that froze is not counted. guarantees: I1, I8, K2 [StaleSettleRefused]
func TestFrozenHandlerWakesUpTooLate(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		broker := memory.New(&memory.Options{Topics: []string{"steps", "none"}})
		t.Cleanup(func() { _ = broker.Close(context.Background()) })
		heart := &frozenStore{Store: w.st.Inbox()}
		icy, err := inbox.New(w.db, heart, &inbox.Options{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		entered, woken, awake := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		var freeze sync.Once
		// It stands before the transaction of inbox.On, and does not notice that the line was lost, as who slept does not.
		icing := func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				frozen := false
				if sixfold.InfoFrom(ctx).Attempt == 2 {
					freeze.Do(func() { frozen = true })
				}
				if !frozen {
					return next(ctx, env)
				}
				heart.frozen.Store(true)
				close(entered)
				<-woken
				err := next(context.WithoutCancel(ctx), env)
				awake <- err
				return err
			}
		}
		var attempts atomic.Int64 // the one at which number 1 succeeded
		h := func(ctx context.Context, tx *sql.Tx, m step) error {
			n := sixfold.InfoFrom(ctx).Attempt
			if m.N == 1 && n == 1 {
				return errNotYet
			}
			if m.N == 1 && !attempts.CompareAndSwap(0, int64(n)) {
				t.Errorf("the handler ran again, attempt %d", n)
			}
			return effect(ctx, tx, m)
		}
		sub := bus.Subscription{Topics: []string{"steps"}, Group: "c", Ordered: true}
		opts := bus.Options{Retry: quick(10), ParkingLease: 3 * time.Second, HandlerTimeout: time.Minute}
		slow := opts
		slow.Middleware = []sixfold.Middleware{icing}
		first := w.consume(broker, sub, slow, inbox.On(icy, h))
		w.poll("the consumer runs", func() bool { return first.Health().State == bus.Running })
		p, err := bus.NewPublisher(broker, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Close(context.Background()) })
		for n := 1; n <= 3; n++ {
			if _, err := p.Publish(t.Context(), "steps", step{"key0", n}); err != nil {
				t.Fatal(err)
			}
		}
		<-entered
		sub.Topics = []string{"none"}        // it helps with what is parked, and leaves the broker's messages to the other
		opts.ParkingLease = 20 * time.Second // a busy machine does not take the line away from it
		second := w.consume(broker, sub, opts, inbox.On(w.box(), h))
		w.poll("all effects", func() bool { return w.count("SELECT count(*) FROM effect") == 3 })
		second.stop()
		close(woken)
		if err := <-awake; err != nil {
			t.Errorf("the late one: %v", err)
		}
		heart.frozen.Store(false)
		first.stop()
		w.wantOnceInOrder("c", 1, 3)
		if n := attempts.Load(); n != 2 {
			t.Errorf("it succeeded at attempt %d; the first failed, and freezing is no failure", n)
		}
	})
}
