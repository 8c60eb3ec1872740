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

// guarantees: K2, I9
func TestRetryHoldsBackOnlyItsOwnKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got trace
		c := f.consumer(t, &bus.Options{Concurrency: 1, Retry: sixfold.Retry{Backoff: func(int) time.Duration { return time.Second }}},
			raw(func(ctx context.Context, env *sixfold.Envelope) error {
				got.add(env.ID)
				if env.ID == "a1" && sixfold.InfoFrom(ctx).Attempt < 3 {
					return errors.New("not yet")
				}
				return nil
			}))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"), msg("b1", "b"), msg("a3", "a"), msg("b2", "b"))
		pass(10 * time.Second)
		got.want(t, "a1 b1 b2 a1 a1 a2 a3")
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		f.wantAcked(t, "a1 a2 a3 b1 b2")
	})
}

// guarantees: I8, I10
func TestDeadLetterCarriesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		root := errors.New("disk\nfull\x00")
		c := f.consumer(t, &bus.Options{Retry: sixfold.Retry{MaxAttempts: 2}}, raw(func(context.Context, *sixfold.Envelope) error {
			return &opaque{root}
		}))
		stop := start(t, c)
		d := msg("a1", "a")
		d.Headers = map[string]string{"tenant": "7", "sixfold-dead-attempts": "4000000000"}
		d.Body = []byte("body")
		f.deliver(d, msg("a2", "a"))
		pass(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		f.wantAcked(t, "a1 a2")
		dead := f.sent()
		if len(dead) != 2 || dead[0].Topic != "orders.dead" || dead[0].ID != "a1" || string(dead[0].Body) != "body" || dead[0].MayMiss {
			t.Fatalf("dead letters: %v", dead)
		}
		h := dead[0].Headers
		for k, want := range map[string]string{"tenant": "7", bus.DeadReason: "attempts", bus.DeadAttempts: "2", bus.DeadTopic: "orders",
			bus.DeadConsumer: "g", bus.DeadError: "outermost <- disk; full "} {
			if h[k] != want {
				t.Errorf("header %s: %q, want %q", k, h[k], want)
			}
		}
	})
}

type opaque struct{ err error }

func (o *opaque) Error() string { return "outermost" }
func (o *opaque) Unwrap() error { return o.err }
