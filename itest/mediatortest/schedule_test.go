package mediatortest

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/mediator"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/sqltx"
)

// remind is a command, and reminded a notification, of which nobody outside of this process knows.
type (
	remind struct {
		sixfold.Returns[int] `json:"-"`

		Of string `json:"of"`
	}
	reminded struct {
		Of string `json:"of"`
	}
)

func (remind) MessageName() string   { return "test.remind" }
func (reminded) MessageName() string { return "test.reminded" }

// What is due goes to the mediator: through a local consumer whose routes are the mediator's, a command once and a notification by
// the hour. guarantees: C1, C2
func TestScheduledForTheMediator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New()
		box, err := outbox.New(kit.Outbox, nil, outbox.ToConsumer("calls", remind{}, reminded{}))
		check(t, err)
		scheduler, err := schedule.New(kit.Store.Schedule(), box, &schedule.Options{Poll: time.Hour})
		check(t, err)
		var (
			mu    sync.Mutex // commands run in the consumer's goroutine, notifications each in one of their own
			times = map[string][]time.Duration{}
			begin = time.Now()
		)
		came := func(of string) {
			mu.Lock()
			defer mu.Unlock()
			times[of] = append(times[of], time.Since(begin).Truncate(time.Minute))
		}
		got := func(of string) []time.Duration {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(times[of])
		}
		m, err := mediator.New(nil,
			mediator.OnCommand(func(_ context.Context, c remind) (int, error) {
				came(c.Of)
				return 1, nil
			}),
			mediator.OnNotification(func(_ context.Context, n reminded) error {
				came(n.Of)
				return nil
			}))
		check(t, err)
		in, err := inbox.New(kit.DB, kit.Inbox, nil)
		check(t, err)
		local, err := outbox.NewLocal(kit.Outbox, kit.DB, nil)
		check(t, err)
		calls, err := bus.NewConsumer(local, bus.Subscription{Group: "calls"}, &bus.Options{Inbox: in, Concurrency: 1},
			mediator.CommandRoute(m, remind{}), mediator.NotificationRoute(m, reminded{}))
		check(t, err)
		kit.Start(t, scheduler, calls)
		check(t, kit.DB.InTx(t.Context(), func(tx sqltx.Tx) error {
			if _, err := scheduler.After(t.Context(), tx, remind{Of: "dinner"}, 90*time.Minute); err != nil {
				return err
			}
			_, err := scheduler.Upsert(t.Context(), tx, schedule.Recurring{Name: "hours", Spec: "@hourly", Message: reminded{"the hour"}, MaxRuns: 3})
			return err
		}))
		sixfoldtest.Advance(89 * time.Minute)
		if d, h := got("dinner"), got("the hour"); len(d) != 0 || len(h) != 1 {
			t.Errorf("before its time: %v, %v", d, h)
		}
		sixfoldtest.Advance(4 * time.Hour)
		if d := got("dinner"); len(d) != 1 || d[0] != 90*time.Minute {
			t.Errorf("the command came after %v", d)
		}
		if h := got("the hour"); len(h) != 3 || h[0] != time.Hour || h[2] != 3*time.Hour {
			t.Errorf("the notification came after %v", h)
		}
	})
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
