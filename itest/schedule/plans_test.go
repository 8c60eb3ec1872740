package schedule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/plans"

	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// On MariaDB and SQLite no statement of a round, of a control, of a page of a list, of a history or of the purge walks over all that
// waits, all schedules or all occurrences. On PostgreSQL they are functions, whose plans cannot be seen from outside.
func TestPlans(t *testing.T) {
	databases(t, func(w *world) {
		if w.driver == "pgx" {
			w.Skip("its statements are functions that bring their settings along")
		}
		ids := w.fill(2000)
		watch := plans.New(w.T, w.driver, mayWalk, "delayed", "promoted", "schedule", "tick", "local", "outbox", "parked")
		db := watch.DB(w.raw)
		st := w.store(db)
		s := w.scheduler(st)
		inTx := func(fn func(tx sqltx.Tx) error) {
			w.Helper()
			must(w.T, db.InTx(w.Context(), fn))
		}
		did := func(changed bool, err error) error {
			if err == nil && !changed {
				err = fmt.Errorf("nothing was changed")
			}
			return err
		}

		_, err := st.Schedule().Next(w.Context(), time.Time{})
		must(w.T, err)
		p, err := st.Schedule().Delayed().Promote(w.Context(), 10, time.Time{})
		if must(w.T, err); p.Moved != 10 {
			w.Errorf("%+v", p)
		}
		_, err = st.Schedule().Next(w.Context(), p.Last)
		must(w.T, err)
		if p, err = st.Schedule().Delayed().Promote(w.Context(), 10, p.Last); err != nil || p.Moved != 10 {
			w.Errorf("%+v, %v", p, err)
		}
		inTx(func(tx sqltx.Tx) error { return s.Cancel(w.Context(), tx, ids[1500]) })
		inTx(func(tx sqltx.Tx) error { return s.Reschedule(w.Context(), tx, ids[1501], time.Now().Add(time.Hour)) })
		page, err := s.Waiting(w.Context(), schedule.DelayedPage{Limit: 10})
		must(w.T, err)
		_, err = s.Waiting(w.Context(), schedule.DelayedPage{Limit: 10, After: page[9].At, AfterN: page[9].N})
		must(w.T, err)
		_, err = s.Waiting(w.Context(), schedule.DelayedPage{ID: ids[1501], Limit: 10})
		must(w.T, err)

		inTx(func(tx sqltx.Tx) error {
			_, err := s.Upsert(w.Context(), tx, schedule.Recurring{Name: "s-0100", Spec: "every 3h", Message: reminder{1}, NoOverlap: true})
			return err
		})
		inTx(func(tx sqltx.Tx) error { return did(s.Pause(w.Context(), tx, "s-0200")) })
		inTx(func(tx sqltx.Tx) error { return did(s.Resume(w.Context(), tx, "s-0200")) })
		inTx(func(tx sqltx.Tx) error { return did(s.Remove(w.Context(), tx, "s-0300")) })
		inTx(func(tx sqltx.Tx) error { _, err := s.Trigger(w.Context(), tx, "s-0400"); return err })
		_, err = s.List(w.Context(), "s-1000", 10)
		must(w.T, err)
		n, err := st.Schedule().Recurring().Advance(w.Context(), 10, func(_ time.Time, due []schedule.Entry) []schedule.Step {
			steps := make([]schedule.Step, len(due))
			for i, e := range due {
				steps[i].Occurrences = []schedule.Begun{{Occurrence: schedule.Occurrence{Schedule: e.Name, Planned: e.Next, Promoted: e.Next, Outcome: schedule.Misfired}}}
				e.Next, e.Wake = e.Next.Add(time.Hour), e.Next.Add(time.Hour)
				steps[i].Entry = e
			}
			return steps
		})
		if err != nil || n != 10 {
			w.Errorf("%d schedules were due, %v", n, err)
		}
		for _, before := range []time.Time{{}, time.Now()} {
			_, err = s.Occurrences(w.Context(), "s-0400", before, 10)
			must(w.T, err)
		}
		if n, err := st.Schedule().History().Purge(w.Context(), time.Microsecond, 10); err != nil || n < 10 {
			w.Errorf("%d rows were purged, %v", n, err)
		}
		if watch.Seen < 25 {
			w.Errorf("%d statements were looked at", watch.Seen)
		}
		w.Logf("%d statements", watch.Seen)
		// The test itself has to be able to fail.
		watch.Quiet = true
		tx, err := w.raw.BeginTx(w.Context(), nil)
		must(w.T, err)
		watch.Look(w.Context(), tx, "SELECT count(*) FROM sixfold_delayed WHERE class = 'none'")
		must(w.T, tx.Rollback())
		if watch.Walks == 0 {
			w.Error("a walk over what waits was not seen")
		}
	})
}

// mayWalk: what was promoted in the last day is looked through where an id is not among what waits, removed schedules are looked for once in
// a purge, and a page of a history looks for its messages among those that wait for a local consumer: the queue has no index by id, which
// each message would pay for.
func mayWalk(q string) bool {
	return strings.HasPrefix(q, "SELECT id FROM") && strings.Contains(q, "sixfold_local") && strings.Contains(q, "IN (") ||
		strings.Contains(q, "ids LIKE") || strings.HasPrefix(q, "DELETE") && strings.Contains(q, "state = 4")
}

// fill makes n delayed messages, the first hundred of them due, n schedules, the first hundred of them due, and n occurrences, and lets the
// database learn about them. It answers the messages' ids.
func (w *world) fill(n int) (ids []string) {
	w.Helper()
	ctx := w.Context()
	now := time.Now()
	must(w.T, w.InTx(ctx, func(tx sqltx.Tx) error {
		for i := range n {
			when := now.Add(time.Hour + time.Duration(i)*time.Second)
			if i < 100 {
				when = now.Add(-time.Minute)
			}
			id, err := w.s.At(ctx, tx, []sixfold.Message{reminder{i}, report{i}}[i%2], when)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	}))
	must(w.T, w.InTx(ctx, func(tx sqltx.Tx) error {
		for i := range n {
			name := fmt.Sprintf("s-%04d", i)
			if _, err := w.s.Upsert(ctx, tx, schedule.Recurring{Name: name, Spec: "every 2h", Message: report{i}}); err != nil {
				return err
			}
			e, _, err := w.st.Schedule().Recurring().Find(ctx, tx, name)
			if err != nil {
				return err
			}
			if i < 100 {
				e.Next, e.Wake = now.Add(-time.Minute), now.Add(-time.Minute)
				if _, err := w.st.Schedule().Recurring().Save(ctx, tx, e, false); err != nil {
					return err
				}
			}
			o := schedule.Occurrence{Schedule: "s-0400", Planned: now.Add(-time.Duration(i) * time.Hour), Promoted: now.Add(-time.Duration(i) * time.Hour), Outcome: schedule.Triggered, ID: sixfold.NewID(), Local: true}
			if err := w.st.Schedule().History().Add(ctx, tx, o); err != nil {
				return err
			}
		}
		return nil
	}))
	analyze := "ANALYZE"
	if w.driver == "mysql" {
		analyze = "ANALYZE TABLE sixfold_delayed, sixfold_promoted, sixfold_schedule, sixfold_tick"
	}
	_, err := w.raw.ExecContext(ctx, analyze)
	must(w.T, err)
	return ids
}
