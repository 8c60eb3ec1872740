package schedule_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store/memory"
)

type reminder struct {
	N int `json:"n"`
}

func (reminder) MessageName() string { return "shop.reminder" }

// world is a scheduler on a store in memory, whose time is the bubble's.
type world struct {
	t   *testing.T
	st  *memory.Store
	box *outbox.Outbox
	*schedule.Scheduler
}

func newWorld(t *testing.T, opts *schedule.Options) *world {
	t.Helper()
	st := memory.New(nil)
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("reminders", reminder{}))
	if err != nil {
		t.Fatal(err)
	}
	s, err := schedule.New(st.Schedule(), box, opts)
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, st, box, s}
}

// tx commits what fn does.
func (w *world) tx(fn func(ctx context.Context, tx sqltx.Tx) error) {
	w.t.Helper()
	if err := w.try(fn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) try(fn func(ctx context.Context, tx sqltx.Tx) error) error {
	return w.st.DB().InTx(w.t.Context(), func(tx sqltx.Tx) error { return fn(w.t.Context(), tx) })
}

// start runs another scheduler of the same store until the test ends.
func (w *world) start(s *schedule.Scheduler) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
}

// local are the rows for local consumers.
func (w *world) local() []outbox.Row {
	w.t.Helper()
	own := outbox.Ownership{Class: "reminders"}
	for i := range own.Partitions {
		own.Partitions[i] = true
	}
	rows, err := w.st.Outbox().Queue(outbox.ToLocal).Read(w.t.Context(), 0, 1_000_000, own)
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

func TestDelayIsExact(t *testing.T) { // guarantees: C1, C2, C3
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		synctest.Wait()
		var id string
		w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
			id, err = w.After(ctx, tx, reminder{1}, time.Hour)
			return err
		})
		time.Sleep(time.Hour - time.Microsecond)
		synctest.Wait()
		if n := len(w.local()); n != 0 {
			t.Fatalf("%d messages a microsecond before they are due", n)
		}
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		rows := w.local()
		if len(rows) != 1 || rows[0].ID != id {
			t.Fatalf("%d messages when 1 is due", len(rows))
		}
		err := w.try(func(ctx context.Context, tx sqltx.Tx) error { return w.Cancel(ctx, tx, strings.ToUpper(id)) })
		if !errors.Is(err, schedule.ErrPromoted) {
			t.Errorf("cancelling what was promoted: %v", err)
		}
	})
}

func TestEarlierMessageWakesTheScheduler(t *testing.T) { // guarantees: C3
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &schedule.Options{Poll: time.Hour})
		w.start(w.Scheduler)
		synctest.Wait()
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			_, err := w.After(ctx, tx, reminder{1}, 30*time.Minute)
			return err
		})
		time.Sleep(time.Minute)
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			_, err := w.After(ctx, tx, reminder{2}, time.Second)
			return err
		})
		time.Sleep(time.Second + 100*time.Millisecond)
		synctest.Wait()
		if n := len(w.local()); n != 1 {
			t.Errorf("%d messages, 1 is due", n)
		}
	})
}

func TestCancelAndReschedule(t *testing.T) { // guarantees: C5
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		var ids [3]string
		w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
			for i := range ids {
				if ids[i], err = w.After(ctx, tx, reminder{i}, time.Minute); err != nil {
					return err
				}
			}
			return nil
		})
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			return errors.Join(w.Cancel(ctx, tx, ids[0]), w.Reschedule(ctx, tx, ids[1], time.Now().Add(time.Hour)))
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if rows := w.local(); len(rows) != 1 || rows[0].ID != ids[2] {
			t.Errorf("%d messages, 1 is due", len(rows))
		}
		for _, id := range []string{ids[0], "", "no id", sixfold.NewID()} {
			err := w.try(func(ctx context.Context, tx sqltx.Tx) error { return w.Cancel(ctx, tx, id) })
			if !errors.Is(err, schedule.ErrUnknown) {
				t.Errorf("cancelling %q: %v", id, err)
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(w.local()); n != 2 {
			t.Errorf("%d messages, 2 are due", n)
		}
	})
}

func TestBadTimes(t *testing.T) {
	w := newWorld(t, nil)
	for _, opt := range []outbox.Option{outbox.NotBefore(time.Time{}), outbox.NotBefore(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)),
		outbox.NotBefore(time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)), outbox.Delay(-time.Second)} {
		err := w.try(func(ctx context.Context, tx sqltx.Tx) error {
			_, err := w.box.Publish(ctx, tx, reminder{}, opt)
			return err
		})
		if !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "; give ") {
			t.Errorf("%v: an error that says what is wrong and what to give is wanted", err)
		}
	}
	if n := len(w.local()); n != 0 {
		t.Errorf("%d messages were published at once", n)
	}
	_, _, err := w.box.Prepare(t.Context(), reminder{}, outbox.Delay(time.Second))
	if !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("a delayed message was prepared: %v", err)
	}
}

func TestNewSaysAllThatIsWrong(t *testing.T) {
	_, err := schedule.New(nil, nil, &schedule.Options{Poll: -1, Batch: 1_000_000, History: time.Second})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"the store is nil", "the outbox is nil", "Poll", "Batch", "History"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %q is missing", err, want)
		}
	}
}

// counted counts what is asked of a store.
type counted struct {
	schedule.Store
	asked atomic.Int64
}

func (c *counted) Next(ctx context.Context, from time.Time) (schedule.Due, error) {
	c.asked.Add(1)
	return c.Store.Next(ctx, from)
}

func TestIdleSchedulerAsksOnceInTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		c := &counted{Store: w.st.Schedule()}
		s, err := schedule.New(c, w.box, nil)
		if err != nil {
			t.Fatal(err)
		}
		w.start(s)
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			_, err := w.After(ctx, tx, reminder{}, 24*time.Hour)
			return err
		})
		time.Sleep(time.Minute)
		before := c.asked.Load()
		time.Sleep(30 * time.Minute)
		if n := c.asked.Load() - before; n > 181 {
			t.Errorf("%d questions in half an hour", n)
		}
	})
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		synctest.Wait()
		if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "make another one") {
			t.Errorf("a second Run: %v", err)
		}
	})
}

func TestUnitHoldsBack(t *testing.T) { // guarantees: O1, C1
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.start(w.Scheduler)
		err := outbox.Do(t.Context(), w.box, w.st.DB(), func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
			u.Publish(reminder{1}, outbox.Delay(time.Minute), outbox.Expires(time.Second))
			u.Publish(reminder{2})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(w.local()); n != 1 {
			t.Errorf("%d messages at once, want 1", n)
		}
		due := time.Now().Add(time.Minute)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		rows := w.local()
		if len(rows) != 2 {
			t.Fatalf("%d messages after two minutes, want 2", len(rows))
		}
		env := sixfold.Envelope{ID: rows[1].ID}
		if _, err := outbox.DecodeAttrs(rows[1].Attrs, &env); err != nil || env.Expires.Sub(due).Round(time.Second) != time.Second {
			t.Errorf("it expires %v after it is due: %v", env.Expires.Sub(due), err)
		}
		if got := fmt.Sprint(string(rows[1].Body)); got != `{"n":1}` {
			t.Errorf("body %s", got)
		}
	})
}

// What Cancel looks through to tell a message that is on its way from an unknown one does not grow for ever.
func TestPromotedMessagesAreForgottenAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, &schedule.Options{Poll: time.Hour})
		w.start(w.Scheduler)
		var id string
		w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
			id, err = w.After(ctx, tx, reminder{1}, time.Minute)
			return err
		})
		cancel := func() error {
			return w.try(func(ctx context.Context, tx sqltx.Tx) error { return w.Cancel(ctx, tx, id) })
		}
		time.Sleep(schedule.Remembered - time.Hour)
		synctest.Wait()
		if err := cancel(); !errors.Is(err, schedule.ErrPromoted) {
			t.Errorf("within the day: %v", err)
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if err := cancel(); !errors.Is(err, schedule.ErrUnknown) {
			t.Errorf("after it: %v", err)
		}
	})
}

// A commit without a delayed message is no reason for schedulers to look.
func TestOnlyDelayedMessagesRing(t *testing.T) {
	w := newWorld(t, nil)
	rings, stop := w.box.Store().Bell(outbox.Later).Listen()
	defer stop()
	w.tx(func(ctx context.Context, tx sqltx.Tx) error {
		_, err := w.box.Publish(ctx, tx, reminder{1})
		return err
	})
	w.box.Committed()
	select {
	case r := <-rings:
		t.Errorf("a ring (%d) for a message that is due now", r)
	default:
	}
	w.tx(func(ctx context.Context, tx sqltx.Tx) error {
		_, err := w.After(ctx, tx, reminder{1}, time.Hour)
		return err
	})
	w.box.Committed()
	if r := <-rings; r != outbox.Now {
		t.Errorf("ring %d for one that waits, want %d", r, outbox.Now)
	}
}
