package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

type outer struct{}

type loud struct{}

func (loud) ContentType() string                { return "application/loud" }
func (loud) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (loud) Unmarshal(data []byte, v any) error { v.(*placed).N = len(data); return nil }

func TestHandlerContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		owned, lose := context.WithCancel(context.Background())
		defer lose()
		d := msg("1", "a")
		d.Owned, d.Topic, d.Redelivered, d.ContentType = owned, "orders.eu", true, "application/loud"
		var kept, never context.Context
		c := f.consumer(t, &bus.Options{HandlerTimeout: time.Minute, Codecs: []sixfold.Codec{loud{}}}, sixfold.On(func(ctx context.Context, m placed) error {
			if kept != nil {
				never = ctx
				return nil
			}
			kept = ctx
			if m.N != 2 {
				t.Errorf("decoded %+v", m)
			}
			info := sixfold.InfoFrom(ctx)
			if info.Envelope != &d.Envelope || info.Topic != "orders.eu" || info.Consumer != "g" || info.Attempt != 1 || !info.Redelivered || info.Envelopes != nil {
				t.Errorf("info: %+v", info)
			}
			if ds := bus.DeliveriesFrom(ctx); len(ds) != 1 || ds[0] != d {
				t.Errorf("deliveries: %v", ds)
			}
			if ctx.Value(outer{}) != "outer" {
				t.Error("a value of Run's context is missing")
			}
			if at, ok := ctx.Deadline(); !ok || time.Until(at) != time.Minute {
				t.Errorf("deadline: %v %v", at, ok)
			}
			if err := ctx.Err(); err != nil {
				t.Errorf("ended: %v", err)
			}
			return nil
		}))
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), outer{}, "outer"))
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		f.deliver(d)
		synctest.Wait()
		f.deliver(msg("2", "a"))
		synctest.Wait()
		for _, ctx := range []context.Context{kept, never} {
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Errorf("after the handler: %v", ctx.Err())
			}
			<-ctx.Done()
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := c.Run(context.Background()); err == nil {
			t.Error("Run ran twice")
		}
	})
}

// A handler that looks at its context only now and then sees the end of it without anything made real.
func TestContextEndsForThosePolling(t *testing.T) {
	for _, why := range []string{"timeout", "lost", "drain"} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				owned, lose := context.WithCancel(context.Background())
				defer lose()
				var end error
				c := f.consumer(t, &bus.Options{HandlerTimeout: time.Minute, DrainTimeout: time.Second, Retry: sixfold.Retry{MaxAttempts: 1}}, raw(func(ctx context.Context, _ *sixfold.Envelope) error {
					for end = ctx.Err(); end == nil; end = ctx.Err() {
						time.Sleep(100 * time.Millisecond)
					}
					return end
				}))
				stop := start(t, c)
				d := msg("1", "a")
				d.Owned = owned
				f.deliver(d)
				synctest.Wait()
				var want error
				switch why {
				case "timeout":
					want = context.DeadlineExceeded
					pass(2 * time.Minute)
				case "lost":
					want = context.Canceled
					lose()
					pass(time.Second)
					if end == nil {
						t.Error("the handler did not see that its delivery is lost")
					}
				case "drain":
					want = context.Canceled
				}
				err := stop()
				if (err != nil) != (why == "drain") {
					t.Errorf("Run: %v", err)
				}
				if !errors.Is(end, want) {
					t.Errorf("ended with %v, want %v", end, want)
				}
			})
		})
	}
}

// Database libraries derive a context from the handler's for each query; that must not cost a goroutine.
func TestDerivedContextsCostNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.consumer(t, nil, raw(func(ctx context.Context, _ *sixfold.Envelope) error {
			before := runtime.NumGoroutine()
			for range 100 {
				below, cancel := context.WithCancel(context.WithValue(ctx, outer{}, 1))
				defer cancel()
				if below.Err() != nil {
					t.Error(below.Err())
				}
			}
			if n := runtime.NumGoroutine() - before; n > 10 {
				t.Errorf("%d goroutines", n)
			}
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("1", "a"))
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		f.wantAcked(t, "1")
	})
}
