package flow_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// A whole program in virtual time: two steps answer, the third one never does. It is tried again after its pause, then all is
// undone; nothing is early. guarantees: S3, S5
func TestTimeLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New()
		out, err := outbox.New(kit.Outbox, nil, outbox.ToConsumer("work", Work{}, Unwork{}), outbox.ToConsumer("orders", Started{}, Worked{}, Gone{}, flow.Timer("f")))
		must(t, err)
		in, err := inbox.New(kit.DB, kit.Inbox, &inbox.Options{Logger: quiet})
		must(t, err)
		box, err := saga.NewBox(in, out, kit.Store.Sagas(), nil)
		must(t, err)
		var mu sync.Mutex
		var ended []flow.Ended
		var did []string
		note := func(s string) {
			mu.Lock()
			defer mu.Unlock()
			did = append(did, s)
		}
		f, err := flow.New("f", box, &flow.Options{OnEnd: func(_ context.Context, e flow.Ended) {
			mu.Lock()
			defer mu.Unlock()
			ended = append(ended, e)
		}}, flow.Begin(Started.ID, begin),
			work("a"), work("b").Within(time.Hour), work("silent").Within(time.Hour).Attempts(sixfold.Retry{MaxAttempts: 2, Backoff: func(int) time.Duration { return 30 * time.Minute }}))
		must(t, err)
		participant := []sixfold.Route{
			inbox.On(in, func(ctx context.Context, tx *memory.Tx, c Work) error {
				note(c.Step)
				if c.Step == "silent" {
					return nil
				}
				_, err := out.Publish(ctx, in.Tx(tx), Worked{c.Key})
				return err
			}),
			inbox.On(in, func(ctx context.Context, tx *memory.Tx, c Unwork) error {
				note("-" + c.Step)
				_, err := out.Publish(ctx, in.Tx(tx), Gone{c.Key})
				return err
			}),
		}
		local, err := outbox.NewLocal(kit.Outbox, kit.DB, nil)
		must(t, err)
		orders, err := bus.NewConsumer(local, bus.Subscription{Group: "orders", Ordered: true}, &bus.Options{Logger: quiet}, f.Routes()...)
		must(t, err)
		workers, err := bus.NewConsumer(local, bus.Subscription{Group: "work", Ordered: true}, &bus.Options{Logger: quiet}, participant...)
		must(t, err)
		scheduler, err := schedule.New(kit.Store.Schedule(), out, &schedule.Options{Poll: time.Hour})
		must(t, err)
		kit.Start(t, scheduler, orders, workers)
		must(t, outbox.Do(t.Context(), out, kit.DB, func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
			u.Publish(Started{"k"})
			return nil
		}))
		at := func(d time.Duration, want string) {
			t.Helper()
			sixfoldtest.Advance(d)
			mu.Lock()
			defer mu.Unlock()
			got := ""
			for _, s := range did {
				got += s + " "
			}
			if got != want {
				t.Fatalf("done so far: %q, want %q", got, want)
			}
		}
		at(time.Minute, "a b silent ")
		at(88*time.Minute, "a b silent ")
		at(2*time.Minute, "a b silent silent ")
		at(58*time.Minute, "a b silent silent ")
		if in := kit.Store.Sagas().Records(); !running(t, in) {
			t.Error("it ended early")
		}
		at(2*time.Minute, "a b silent silent -silent -b -a ")
		mu.Lock()
		defer mu.Unlock()
		if len(ended) != 1 || ended[0].Status != saga.Compensated || ended[0].Reason != "silent did not answer in time" {
			t.Errorf("it ended as %+v", ended)
		}
	})
}

func running(t *testing.T, from saga.RecordStore) bool {
	t.Helper()
	all, err := from.List(t.Context(), saga.Filter{Status: saga.Running}, saga.Page{Limit: 10})
	must(t, err)
	return len(all) == 1
}
