package schedule

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// The clock of a real server is put back by ten minutes while a scheduler runs, and forward again: what has happened does not
// happen again, what was not due yet waits until that clock says so, and nothing is lost. guarantees: C1, C2
func TestServerClockIsPutBack(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	server, err := servers.StartPostgres(ctx, &servers.PostgresOptions{OwnClock: true})
	if errors.Is(err, servers.ErrUnavailable) && os.Getenv(servers.RequireEnv) != "1" {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { must(t, server.Close()) })
	w := open(t, "pgx", server.DSN())
	now := func() (at time.Time) {
		t.Helper()
		must(t, w.raw.QueryRowContext(t.Context(), "SELECT clock_timestamp()").Scan(&at))
		return at
	}
	// An hour ahead, so that nothing here can be right by the machine's clock.
	must(t, server.MoveClock(time.Hour))
	began := now()
	if by := time.Until(began); by < 59*time.Minute || by > 61*time.Minute {
		t.Fatalf("the server's clock is ahead by %v, want an hour", by)
	}
	stop := w.run(w.scheduler(w.st))
	var soon, later string
	w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
		if _, err = w.s.Upsert(ctx, tx, schedule.Recurring{Name: "s0", Spec: "every 1s", Message: reminder{}, Misfire: schedule.FireAll, Grace: time.Hour}); err != nil {
			return err
		}
		if soon, err = w.s.After(ctx, tx, report{1}, time.Second); err != nil {
			return err
		}
		later, err = w.s.After(ctx, tx, report{2}, 5*time.Minute)
		return err
	})
	arrived := func(id string) bool {
		for _, r := range w.rows(outbox.ToBroker, "") {
			if r.ID == id {
				return true
			}
		}
		return false
	}
	ticks := func() int { return len(w.rows(outbox.ToLocal, "reminders")) }
	w.until("some occurrences and the first message are there", func() bool { return ticks() >= 3 && arrived(soon) })

	must(t, server.MoveClock(50*time.Minute))
	if back := now(); !back.Before(began.Add(-9 * time.Minute)) {
		t.Fatalf("the server's clock was put back from %v to %v only", began, back)
	}
	// What was under way has ended when another transaction of the scheduler has; from then on nothing is due.
	var again string
	w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
		again, err = w.s.After(ctx, tx, report{3}, time.Second)
		return err
	})
	w.until("a message that is scheduled now arrives", func() bool { return arrived(again) })
	before := ticks()
	w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
		again, err = w.s.After(ctx, tx, report{4}, 2*time.Second)
		return err
	})
	w.until("another one arrives", func() bool { return arrived(again) })
	if n := ticks(); n != before {
		t.Errorf("%d occurrences while the clock shows times that have been, want none", n-before)
	}
	if arrived(later) {
		t.Error("a message was sent five minutes early")
	}
	w.once(1)

	must(t, server.MoveClock(70*time.Minute))
	w.until("what was due meanwhile is there", func() bool { return arrived(later) && ticks() > before+100 })
	stop()
	w.once(1)
	if n := len(w.rows(outbox.ToBroker, "")); n != 4 {
		t.Errorf("%d messages of 4", n)
	}
}
