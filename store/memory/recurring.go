package memory

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// recurring implements schedule.RecurringStore.
type recurring struct{ st *Store }

func cloneEntry(e *schedule.Entry) *schedule.Entry {
	out := *e
	out.Definition = bytes.Clone(e.Definition)
	return &out
}

// Find implements schedule.RecurringStore.
func (r recurring) Find(ctx context.Context, t sqltx.Tx, name string) (e *schedule.Entry, now time.Time, err error) {
	s := r.st
	tx, err := s.own(t, "find a schedule")
	if err != nil {
		return nil, now, err
	}
	err = tx.do(ctx, "find a schedule", func() error {
		now = s.now()
		if err := s.schedules.free(ctx, tx, name); err != nil {
			return err
		}
		if have := s.schedules.seen(tx, name); have != nil {
			s.schedules.put(tx, name, have)
			e = cloneEntry(have)
		}
		return nil
	})
	return e, now, err
}

// Save implements schedule.RecurringStore.
func (r recurring) Save(ctx context.Context, t sqltx.Tx, e *schedule.Entry, isNew bool) (done bool, err error) {
	err = r.put(ctx, t, e, func(have *schedule.Entry) bool { done = have == nil || !isNew; return done })
	return done, err
}

// Owned implements schedule.RecurringStore.
func (r recurring) Owned(ctx context.Context, t sqltx.Tx, owner string) (names []string, err error) {
	tx, err := r.st.own(t, "list the schedules of an owner")
	if err != nil {
		return nil, err
	}
	err = tx.do(ctx, "list the schedules of an owner", func() error {
		for name := range r.st.schedules {
			if e := r.st.schedules.seen(tx, name); e != nil && e.Owner == owner && e.State != schedule.Removed {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return nil
	})
	return names, err
}

func (r recurring) put(ctx context.Context, t sqltx.Tx, e *schedule.Entry, may func(have *schedule.Entry) bool) error {
	s := r.st
	tx, err := s.own(t, "write a schedule")
	if err != nil {
		return err
	}
	return tx.do(ctx, "write a schedule", func() error {
		if err := s.schedules.free(ctx, tx, e.Name); err != nil {
			return err
		}
		if may(s.schedules.seen(tx, e.Name)) {
			tx.wrote[outbox.Later] = true
			s.schedules.put(tx, e.Name, cloneEntry(e))
		}
		return nil
	})
}

// List implements schedule.RecurringStore.
func (r recurring) List(ctx context.Context, after string, limit int) (es []schedule.Entry, now time.Time, err error) {
	s := r.st
	err = s.locked(ctx, "list schedules", func() error {
		now = s.now()
		for name, c := range s.schedules {
			if c.now != nil && name > after {
				es = append(es, *cloneEntry(c.now))
			}
		}
		return nil
	})
	slices.SortFunc(es, func(a, b schedule.Entry) int { return strings.Compare(a.Name, b.Name) })
	return es[:min(limit, len(es))], now, err
}

// Advance implements schedule.RecurringStore.
func (r recurring) Advance(ctx context.Context, limit int, plan func(time.Time, []schedule.Entry) []schedule.Step) (n int, err error) {
	s := r.st
	err = s.run(ctx, func(tx *Tx) error {
		return tx.do(ctx, "advance schedules", func() error {
			now := s.now()
			var due []schedule.Entry
			for _, c := range s.schedules {
				if c.now != nil && c.by == nil && !c.now.Wake.IsZero() && !c.now.Wake.After(now) {
					due = append(due, *cloneEntry(c.now))
				}
			}
			slices.SortFunc(due, func(a, b schedule.Entry) int { return cmp.Or(a.Wake.Compare(b.Wake), strings.Compare(a.Name, b.Name)) })
			due = due[:min(limit, len(due))]
			if n = len(due); n == 0 {
				return nil
			}
			for i := range due {
				due[i].Unhandled = due[i].NoOverlap && s.unhandled(due[i].LastID)
			}
			for _, step := range plan(now, due) {
				r.write(tx, &step, now)
			}
			return nil
		})
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// write enters what is new of a step. Nobody else holds its rows, so nothing is waited for.
func (r recurring) write(tx *Tx, step *schedule.Step, now time.Time) {
	s := r.st
	for i := range step.Occurrences {
		b := &step.Occurrences[i]
		key := tickKey{b.Schedule, b.Planned.UnixMicro()}
		if s.ticks[key] != nil {
			continue
		}
		o := b.Occurrence
		s.ticks.put(tx, key, &o)
		for table, rows := range [2][]outbox.Row{b.Broker, b.Local} {
			for j := range rows {
				tx.wrote[table] = true
				s.rows[table].insert(tx, row{clone(&rows[j]), now})
			}
		}
	}
	s.schedules.put(tx, step.Entry.Name, cloneEntry(&step.Entry))
}

// unhandled reports whether a message waits for its local consumer, or is parked by it.
func (s *Store) unhandled(id string) bool {
	if id == "" {
		return false
	}
	for _, c := range s.rows[outbox.ToLocal].cells {
		if c.now != nil && c.now.ID == id {
			return true
		}
	}
	for _, c := range s.parked {
		if c.now != nil && c.now.ID == id && !c.now.dead {
			return true
		}
	}
	return false
}

type tickKey struct {
	schedule string
	planned  int64
}

// history implements schedule.HistoryStore.
type history struct{ st *Store }

// Add implements schedule.HistoryStore.
func (h history) Add(ctx context.Context, t sqltx.Tx, o schedule.Occurrence) error {
	tx, err := h.st.own(t, "enter an occurrence")
	if err != nil {
		return err
	}
	return tx.do(ctx, "enter an occurrence", func() error {
		key := tickKey{o.Schedule, o.Planned.UnixMicro()}
		if err := h.st.ticks.free(ctx, tx, key); err != nil {
			return err
		}
		if h.st.ticks.seen(tx, key) == nil {
			h.st.ticks.put(tx, key, &o)
		}
		return nil
	})
}

// Occurrences implements schedule.HistoryStore.
func (h history) Occurrences(ctx context.Context, name string, before time.Time, limit int) (all []schedule.Occurrence, err error) {
	s := h.st
	err = s.locked(ctx, "list the history of a schedule", func() error {
		for key, c := range s.ticks {
			if c.now != nil && key.schedule == name && (before.IsZero() || c.now.Planned.Before(before)) {
				all = append(all, *c.now)
			}
		}
		slices.SortFunc(all, func(a, b schedule.Occurrence) int { return b.Planned.Compare(a.Planned) })
		all = all[:min(limit, len(all))]
		for i := range all {
			all[i].Fate = s.fate(&all[i])
		}
		return nil
	})
	return all, err
}

func (s *Store) fate(o *schedule.Occurrence) schedule.Fate {
	if o.ID == "" {
		return schedule.FateNone
	}
	fate := schedule.FateHandled
	if !o.Local {
		fate = schedule.FateRelayed
	}
	for _, c := range s.parked {
		if c.now == nil || c.now.ID != o.ID {
			continue
		}
		if !c.now.dead {
			return schedule.FateParked
		}
		fate = schedule.FateDead
	}
	if fate == schedule.FateHandled && s.unhandled(o.ID) {
		fate = schedule.FateWaiting
	}
	return fate
}

// Purge implements schedule.HistoryStore.
func (h history) Purge(ctx context.Context, keep time.Duration, limit int) (n int, err error) {
	s := h.st
	err = s.locked(ctx, "purge the history of schedules", func() error {
		old := s.now().Add(-keep)
		for key, c := range s.ticks {
			if c.by == nil && c.now.Promoted.Before(old) && n < limit {
				delete(s.ticks, key)
				n++
			}
		}
		for id, at := range s.promoted {
			if at.Before(s.now().Add(-min(keep, schedule.Remembered))) {
				delete(s.promoted, id)
			}
		}
		for name, c := range s.schedules {
			if c.by == nil && c.now.State == schedule.Removed && c.now.Changed.Before(old) {
				delete(s.schedules, name)
				n++
			}
		}
		return nil
	})
	return n, err
}
