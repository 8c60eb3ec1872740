package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Schedule is the scheduler's part of a Store; it implements schedule.Store. It looks at every waiting message whenever it looks, so
// it is for tens of thousands of them, not for millions.
type Schedule struct{ st *Store }

// Schedule of the store. Always the same one.
func (s *Store) Schedule() *Schedule { return &s.later }

// Delayed implements schedule.Store.
func (s *Schedule) Delayed() schedule.DelayedStore { return delayed{s.st} }

// Recurring implements schedule.Store.
func (s *Schedule) Recurring() schedule.RecurringStore { return recurring{s.st} }

// History implements schedule.Store.
func (s *Schedule) History() schedule.HistoryStore { return history{s.st} }

// Passing implements schedule.Store.
func (s *Schedule) Passing(err error) bool { return s.st.inbox.Passing(err) }

// now is the clock as databases keep it.
func (s *Store) now() time.Time { return s.clock().UTC().Truncate(time.Microsecond) }

// Next implements schedule.Store.
func (s *Schedule) Next(ctx context.Context, _ time.Time) (due schedule.Due, err error) {
	due = schedule.Due{Delayed: schedule.Never, Recurring: schedule.Never}
	err = s.st.locked(ctx, "ask what is due next", func() error {
		now := s.st.now()
		for _, c := range s.st.delayed {
			if c.now != nil {
				due.Delayed = min(due.Delayed, c.now.At.Sub(now))
			}
		}
		for _, c := range s.st.schedules {
			if c.now != nil && !c.now.Wake.IsZero() {
				due.Recurring = min(due.Recurring, c.now.Wake.Sub(now))
			}
		}
		return nil
	})
	return due, err
}

// delayedRow is a row that waits, with the number by which it was written.
type delayedRow struct {
	outbox.DelayedRow
	n int64
}

func compareDelayed(a, b *delayedRow) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.n, b.n)) }

// Delay implements outbox.Writer.
func (w writer) Delay(ctx context.Context, t sqltx.Tx, rows []outbox.DelayedRow, wantXact bool) (refused []int, xact string, err error) {
	tx, err := w.st.own(t, "delay")
	if err != nil {
		return nil, "", err
	}
	err = tx.do(ctx, "delay", func() error {
		s := w.st
		plain := make([]outbox.Row, len(rows))
		for i := range rows {
			plain[i] = rows[i].Row
		}
		if refused, err = tx.claim(ctx, plain, s.clock()); err != nil {
			return err
		}
		now := s.now()
		for i := range rows {
			if _, no := slices.BinarySearch(refused, i); no {
				continue
			}
			s.delays++
			r := &delayedRow{rows[i], s.delays}
			r.Row = clone(&rows[i].Row)
			if r.At.IsZero() {
				r.At, r.After = now.Add(r.After).Truncate(time.Microsecond), 0
			}
			tx.wrote[outbox.Later] = true
			s.delayed.put(tx, r.n, r)
		}
		if wantXact {
			xact = tx.ask()
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return refused, xact, nil
}

// delayed implements schedule.DelayedStore.
type delayed struct{ st *Store }

// Promote implements schedule.DelayedStore. It does not wait, so it is never in another one's way.
func (d delayed) Promote(ctx context.Context, limit int, from time.Time) (p schedule.Promotion, err error) {
	s := d.st
	err = s.run(ctx, func(tx *Tx) error {
		return tx.do(ctx, "promote delayed messages", func() error {
			now := s.now()
			var due []*delayedRow
			for _, c := range s.delayed {
				if c.now != nil && c.by == nil && !c.now.At.After(now) && !c.now.At.Before(from) {
					due = append(due, c.now)
				}
			}
			slices.SortFunc(due, compareDelayed)
			for _, r := range due[:min(limit, len(due))] {
				tx.wrote[r.Table] = true
				s.rows[r.Table].insert(tx, row{r.Row, now})
				s.delayed.put(tx, r.n, nil)
				tx.onCommit = append(tx.onCommit, func() { s.promoted[r.ID] = now })
				p.Moved, p.Last = p.Moved+1, r.At
			}
			return nil
		})
	})
	if err != nil {
		return schedule.Promotion{}, err
	}
	return p, nil
}

// Cancel implements schedule.DelayedStore.
func (d delayed) Cancel(ctx context.Context, t sqltx.Tx, id string) (schedule.Found, error) {
	return d.change(ctx, t, "cancel a delayed message", id, func(*delayedRow) *delayedRow { return nil })
}

// Reschedule implements schedule.DelayedStore.
func (d delayed) Reschedule(ctx context.Context, t sqltx.Tx, id string, at time.Time, after time.Duration) (schedule.Found, error) {
	return d.change(ctx, t, "reschedule a delayed message", id, func(r *delayedRow) *delayedRow {
		moved := *r
		if moved.At = at; at.IsZero() {
			moved.At = d.st.now().Add(after).Truncate(time.Microsecond)
		}
		return &moved
	})
}

func (d delayed) change(ctx context.Context, t sqltx.Tx, what, id string, to func(*delayedRow) *delayedRow) (found schedule.Found, err error) {
	s := d.st
	tx, err := s.own(t, what)
	if err != nil {
		return found, err
	}
	err = tx.do(ctx, what, func() error {
		var ns []int64
		for n, c := range s.delayed {
			if r := s.delayed.seen(tx, n); r != nil && r.ID == id || c.now != nil && c.now.ID == id {
				ns = append(ns, n)
			}
		}
		slices.Sort(ns)
		for _, n := range ns {
			if err := s.delayed.free(ctx, tx, n); err != nil {
				return err
			}
			if r := s.delayed.seen(tx, n); r != nil {
				tx.wrote[outbox.Later] = true
				s.delayed.put(tx, n, to(r))
				found = schedule.Changed
			}
		}
		if _, was := s.promoted[id]; was && found == schedule.Unknown {
			found = schedule.Promoted
		}
		return nil
	})
	return found, err
}

// List implements schedule.DelayedStore.
func (d delayed) List(ctx context.Context, page schedule.DelayedPage) (all []schedule.Waiting, err error) {
	s := d.st
	err = s.locked(ctx, "list delayed messages", func() error {
		now := s.now()
		var rows []*delayedRow
		for _, c := range s.delayed {
			r := c.now
			switch {
			case r == nil, page.ID != "" && r.ID != page.ID:
			case page.ID == "" && cmp.Or(r.At.Compare(page.After), cmp.Compare(r.n, page.AfterN)) <= 0:
			default:
				rows = append(rows, r)
			}
		}
		slices.SortFunc(rows, compareDelayed)
		for _, r := range rows[:min(page.Limit, len(rows))] {
			w := schedule.Waiting{DelayedRow: r.DelayedRow, N: r.n, In: r.At.Sub(now)}
			w.Row = clone(&r.Row)
			all = append(all, w)
		}
		return nil
	})
	return all, err
}
