package schedule_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store/memory"
)

// clocked is a world whose store has a clock of its own: ahead of the node's, or behind it, by what the pointer says.
func clocked(t *testing.T, ahead *atomic.Int64) (w *world, now func() time.Time) {
	t.Helper()
	now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	st := memory.New(&memory.Options{Clock: now})
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("reminders", reminder{}))
	if err != nil {
		t.Fatal(err)
	}
	s, err := schedule.New(st.Schedule(), box, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, st, box, s}, now
}

// A node whose clock is an hour ahead, or behind, sends nothing early and nothing late: the store's clock says what is due.
func TestNodeClockChangesNothing(t *testing.T) { // guarantees: C2
	for name, ahead := range map[string]time.Duration{"node an hour behind": time.Hour, "node an hour ahead": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var by atomic.Int64
				by.Store(int64(ahead))
				w, now := clocked(t, &by)
				w.start(w.Scheduler)
				w.tx(func(ctx context.Context, tx sqltx.Tx) error {
					if _, err := w.After(ctx, tx, reminder{1}, 90*time.Second); err != nil {
						return err
					}
					_, err := w.At(ctx, tx, reminder{2}, now().Add(150*time.Second))
					return err
				})
				w.upsert(schedule.Recurring{Name: "m", Spec: "* * * * *", Message: reminder{}})
				began := time.Now() // a whole minute
				for _, c := range []struct {
					at   time.Duration
					want int
				}{
					{59999 * time.Millisecond, 0}, {60100 * time.Millisecond, 1}, {89999 * time.Millisecond, 1}, {90100 * time.Millisecond, 2},
					{119999 * time.Millisecond, 2}, {120100 * time.Millisecond, 3}, {149999 * time.Millisecond, 3}, {150100 * time.Millisecond, 4},
				} {
					time.Sleep(time.Until(began.Add(c.at)))
					synctest.Wait()
					if n := len(w.local()); n != c.want {
						t.Errorf("after %v there are %d messages, want %d", c.at, n, c.want)
					}
				}
			})
		})
	}
}

// The store's clock is put back by ten minutes while a scheduler runs: what was due is not due again, and what is due later waits
// until that clock says so.
func TestStoreClockIsPutBack(t *testing.T) { // guarantees: C1, C2
	synctest.Test(t, func(t *testing.T) {
		var by atomic.Int64
		w, now := clocked(t, &by)
		w.start(w.Scheduler)
		w.upsert(schedule.Recurring{Name: "m", Spec: "* * * * *", Message: reminder{}})
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			_, err := w.At(ctx, tx, reminder{2}, now().Add(12*time.Minute))
			return err
		})
		time.Sleep(10*time.Minute + time.Second)
		synctest.Wait()
		if n := len(w.local()); n != 10 {
			t.Fatalf("%d messages in ten minutes", n)
		}
		by.Store(-int64(10 * time.Minute))
		time.Sleep(10*time.Minute - 2*time.Second) // it is a second to ten past, for the second time
		synctest.Wait()
		if n := len(w.local()); n != 10 {
			t.Errorf("%d messages when the clock is where it was, want the 10 of before", n)
		}
		time.Sleep(2*time.Minute + 2*time.Second) // two past that
		synctest.Wait()
		if n := len(w.local()); n != 13 {
			t.Errorf("%d messages two minutes on, want 13", n)
		}
		got := w.times()
		slices.SortFunc(got, time.Time.Compare)
		if n := len(slices.CompactFunc(slices.Clone(got), time.Time.Equal)); n < 12 {
			t.Errorf("an occurrence happened twice: %v", got)
		}
	})
}
