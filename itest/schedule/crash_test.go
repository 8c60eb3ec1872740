package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/itest/fuse"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Whatever statement a scheduler dies at, what is due is moved whole or not at all, and in the end once. guarantees: C1
func TestDeathAtEveryStatement(t *testing.T) {
	databases(t, func(w *world) {
		var f fuse.Fuse
		broken := w.store(fuse.DB(w.raw, &f)).Schedule()
		var want []string
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			for i := range 5 {
				for _, m := range []func() (string, error){
					func() (string, error) { return w.s.After(ctx, tx, reminder{i}, time.Microsecond) },
					func() (string, error) { return w.s.After(ctx, tx, report{i}, time.Microsecond) },
				} {
					id, err := m()
					if err != nil {
						return err
					}
					want = append(want, id)
				}
			}
			return nil
		})
		for n := int64(0); ; n++ {
			f.Last(n)
			p, err := broken.Delayed().Promote(w.Context(), 100, time.Time{})
			there := len(w.rows(outbox.ToLocal, "reminders")) + len(w.rows(outbox.ToBroker, ""))
			if err == nil {
				if p.Moved != 10 || there != 10 {
					w.Errorf("%d of 10 were moved, %d are there", p.Moved, there)
				}
				w.Logf("promotion has %d places to die at", n)
				break
			}
			if !errors.Is(err, fuse.ErrBlown) || there != 0 {
				w.Fatalf("dead at statement %d: %d messages are there: %v", n, there, err)
			}
		}
		// Now occurrences, of which one goes both ways.
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			for i, m := range []schedule.Recurring{{Message: reminder{}, NoOverlap: true}, {Message: report{}}, {Message: reminder{}}} {
				m.Name, m.Spec = fmt.Sprint("s", i), "every 1s"
				if _, err := w.s.Upsert(ctx, tx, m); err != nil {
					return err
				}
			}
			return nil
		})
		w.until("all are due", func() bool {
			due := 0
			es, now, err := w.st.Schedule().Recurring().List(w.Context(), "", 10)
			must(w.T, err)
			for _, e := range es {
				if !e.Wake.After(now) {
					due++
				}
			}
			return due == 3
		})
		failures := 0
		for n := int64(0); ; n++ {
			f.Last(n)
			// A Run does not end when its database fails: it is stopped at its first error, or when it has advanced.
			ctx, cancel := context.WithCancel(w.Context())
			failed := false
			s, err := schedule.New(broken, w.box, &schedule.Options{Logger: quiet(), OnError: func(error) { failed = true; cancel() }})
			must(w.T, err)
			done := make(chan error, 1)
			go func() { done <- s.Run(ctx) }()
			w.until("it fails or advances", func() bool { return ctx.Err() != nil || s.Health().Advanced > 0 })
			cancel()
			must(w.T, <-done)
			if s.Health().Advanced > 0 {
				break
			}
			if failures++; !failed || failures > 50 {
				w.Fatalf("%d failures, failed: %t", failures, failed)
			}
		}
		w.Logf("advancing has %d places to die at", failures)
		w.once(3)
	})
}

// once checks that each occurrence that the history knows of has its message, once, and that there are no others.
func (w *world) once(schedules int) {
	w.Helper()
	var planned, there []string
	for i := range schedules {
		all, err := w.s.Occurrences(w.Context(), fmt.Sprint("s", i), time.Time{}, 1000)
		must(w.T, err)
		for _, o := range all {
			if o.Outcome == schedule.Begins {
				planned = append(planned, o.ID)
			}
			if o.Promoted.Before(o.Planned) {
				w.Errorf("early by %v", o.Planned.Sub(o.Promoted))
			}
		}
		if len(all) == 0 {
			w.Errorf("schedule %d has had no occurrence", i)
		}
	}
	for _, r := range append(w.rows(outbox.ToLocal, "reminders"), w.rows(outbox.ToBroker, "")...) {
		if r.ID[14] == '8' { // of an occurrence
			there = append(there, r.ID)
		}
	}
	slices.Sort(planned)
	slices.Sort(there)
	if !slices.Equal(planned, there) {
		w.Errorf("%d occurrences have %d messages", len(planned), len(there))
	}
}

// Several schedulers at once move everything once, and none of it early. guarantees: C1, C2, C3
func TestThreeSchedulersAtOnce(t *testing.T) {
	databases(t, func(w *world) {
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			for i := range 3 {
				if _, err := w.s.Upsert(ctx, tx, schedule.Recurring{Name: fmt.Sprint("s", i), Spec: "every 1s", Message: reminder{i}}); err != nil {
					return err
				}
			}
			for i := range 500 {
				if _, err := w.s.After(ctx, tx, report{i}, time.Duration(i%7)*100*time.Millisecond+time.Microsecond); err != nil {
					return err
				}
			}
			return nil
		})
		var stops []func()
		for range 3 {
			stops = append(stops, w.run(w.scheduler(w.store(w.DB))))
		}
		w.until("everything is there", func() bool {
			return len(w.rows(outbox.ToBroker, "")) >= 500 && len(w.rows(outbox.ToLocal, "reminders")) >= 9
		})
		for _, stop := range stops {
			stop()
		}
		ids := map[string]bool{}
		for _, r := range w.rows(outbox.ToBroker, "") {
			ids[r.ID] = true
		}
		if n := len(w.rows(outbox.ToBroker, "")); len(ids) != 500 || n != 500 {
			w.Errorf("500 messages were scheduled, %d are there, %d different ones", n, len(ids))
		}
		w.once(3)
	})
}

// Who cancels while the message is promoted is first or second, and is told which. guarantees: C5
func TestCancelAgainstPromotion(t *testing.T) {
	databases(t, func(w *world) {
		stop := w.run(w.scheduler(w.store(w.DB)))
		cancelled := 0
		for i := range 40 {
			var id string
			w.tx(func(ctx context.Context, tx sqltx.Tx) (err error) {
				id, err = w.s.After(ctx, tx, report{i}, time.Duration(1+i%8)*time.Millisecond)
				return err
			})
			w.until("it can be cancelled or was sent", func() bool {
				err := w.InTx(w.Context(), func(tx sqltx.Tx) error { return w.s.Cancel(w.Context(), tx, id) })
				switch {
				case err == nil:
					cancelled++
				case errors.Is(err, schedule.ErrPromoted):
				case w.st.Schedule().Passing(err):
					return false
				default:
					w.Fatal(err)
				}
				return true
			})
		}
		stop()
		if sent := len(w.rows(outbox.ToBroker, "")); sent+cancelled != 40 {
			w.Errorf("%d were cancelled and %d sent, of 40", cancelled, sent)
		}
		w.Logf("%d of 40 were cancelled in time", cancelled)
	})
}
