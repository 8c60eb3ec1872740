package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/middleware"
	"github.com/sixfold-go/sixfold/transport/memory"
)

type pay struct {
	Order string `json:"order"`
	N     int    `json:"n"`
}

func (pay) MessageName() string  { return "payments.pay" }
func (p pay) MessageKey() string { return p.Order }

// outage consumes 200 payments of 20 orders whose dependency is away from the beginning, for as long as lasts says.
type outage struct {
	lasts    time.Duration
	away     atomic.Bool
	attempts atomic.Int64 // that went to the dependency
	dead     atomic.Int64
	mu       sync.Mutex
	handled  map[string][]int
}

func (o *outage) run(t *testing.T, mws ...sixfold.Middleware) {
	ctx := t.Context()
	broker := memory.New(nil)
	defer broker.Close(ctx)
	o.handled = map[string][]int{}
	o.away.Store(o.lasts > 0)
	handle := sixfold.On(func(_ context.Context, p pay) error {
		o.attempts.Add(1)
		if o.away.Load() {
			return errDown
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.handled[p.Order] = append(o.handled[p.Order], p.N)
		return nil
	})
	c, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"payments"}, Group: "bank", Ordered: true}, &bus.Options{
		Middleware: mws, Logger: slog.New(slog.DiscardHandler),
		Hooks: bus.Hooks{Dead: func(*bus.Delivery, string, error) { o.dead.Add(1) }},
	}, handle)
	if err != nil {
		t.Fatal(err)
	}
	graves, err := broker.Subscribe(ctx, bus.Subscription{Topics: []string{"payments" + bus.DeadSuffix}, Group: "graves"}) // so that they have a place
	if err != nil {
		t.Fatal(err)
	}
	defer graves.Close(ctx)
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- c.Run(running) }()
	synctest.Wait()
	sender, err := broker.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 200 {
		env, err := sixfold.NewEnvelope(ctx, "shop", nil, pay{Order: fmt.Sprint("o-", i%20), N: i / 20})
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(ctx, []bus.Outgoing{{Topic: "payments", Envelope: env}}).Wait(ctx)[0]; err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(o.lasts)
	o.away.Store(false)
	time.Sleep(5 * time.Minute)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A dependency that is away for a day dead-letters nothing once the breaker is open, and the order of keys is kept.
//
// guarantees: R7, K2 [OutageDeadLettersNothing]
func TestOutageOfADependencyDeadLettersNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, nil)
		o := &outage{lasts: 24 * time.Hour}
		o.run(t, b.Middleware())
		if n := o.dead.Load(); n != 0 {
			t.Errorf("%d dead letters", n)
		}
		for i := range 20 {
			ns := o.handled[fmt.Sprint("o-", i)]
			for j, n := range ns {
				if n != j {
					t.Fatalf("the order of key %d is %v", i, ns)
				}
			}
			if len(ns) != 10 {
				t.Errorf("key %d: %d handled", i, len(ns))
			}
		}
		// One probe a minute for a day, those of the first minute, the 16 lanes' first ones, and the 200.
		if n := o.attempts.Load(); n > 1440+20+16+200 || n < 1400+200 {
			t.Errorf("the dependency was called %d times", n)
		}
		if s := b.State(); s.Phase != middleware.Closed {
			t.Errorf("%+v", s)
		}
	})
}

// The same without a breaker, so that the test above can fail.
func TestOutageWithoutABreakerDeadLettersAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outage{lasts: 24 * time.Hour}
		o.run(t)
		if n := o.dead.Load(); n != 200 {
			t.Errorf("%d dead letters", n)
		}
	})
}

// guarantees: M3
func TestNextTwiceInAConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outage{}
		var refused atomic.Int64
		twice := func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				if err := next(ctx, env); err != nil {
					return err
				}
				if errors.Is(next(ctx, env), sixfold.ErrNextTwice) {
					refused.Add(1)
				}
				return nil
			}
		}
		o.run(t, newBreaker(t, nil).Middleware(), twice)
		if n := refused.Load(); n != 200 {
			t.Errorf("%d were refused", n)
		}
		for key, ns := range o.handled {
			if len(ns) != 10 {
				t.Errorf("key %s: %d handled", key, len(ns))
			}
		}
	})
}
