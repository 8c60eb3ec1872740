package schedule

import (
	"context"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/sqltx"
)

// change finds a schedule, has fn change it, and saves it if fn answers true. An unknown or removed one is ErrUnknown.
func (s *Scheduler) change(ctx context.Context, tx sqltx.Tx, what, name string, fn func(e *Entry, now time.Time) (bool, error)) (bool, error) {
	if err := noTx(tx, what); err != nil {
		return false, err
	}
	e, now, err := s.store.Recurring().Find(ctx, tx, name)
	if err != nil {
		return false, err
	}
	if e == nil || e.State == Removed {
		return false, fmt.Errorf("%w: %s schedule %.64q; list shows those that there are", ErrUnknown, what, name)
	}
	changed, err := fn(e, now)
	if err != nil || !changed {
		return false, err
	}
	e.Changed = now
	if _, err := s.store.Recurring().Save(ctx, tx, e, false); err != nil {
		return false, err
	}
	s.changed()
	return true, nil
}

// Pause stops a schedule until Resume. After tx commits no new occurrence begins; one whose message was written may still arrive. A
// finished one stays finished.
func (s *Scheduler) Pause(ctx context.Context, tx sqltx.Tx, name string) (changed bool, err error) {
	return s.change(ctx, tx, "pause", name, func(e *Entry, _ time.Time) (bool, error) {
		if e.State != Active {
			return false, nil
		}
		e.State, e.Wake = Paused, time.Time{}
		return true, nil
	})
}

// Resume lets a paused schedule go on with the first occurrence after now; those of the pause are left out. One that stopped
// for a problem is tried again.
func (s *Scheduler) Resume(ctx context.Context, tx sqltx.Tx, name string) (changed bool, err error) {
	return s.change(ctx, tx, "resume", name, func(e *Entry, now time.Time) (bool, error) {
		if e.State != Paused && e.Problem == "" {
			return false, nil
		}
		d, cal, err := readDefinition(e.Definition)
		if err != nil {
			return false, err
		}
		e.State, e.Problem = Active, ""
		d.plan(&cal, e, later(now, e.Last))
		return true, nil
	})
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Remove ends a schedule. After tx commits no new occurrence begins; one whose message was written may still arrive. Its history
// is kept for Options.History. One that has finished does not change.
func (s *Scheduler) Remove(ctx context.Context, tx sqltx.Tx, name string) (changed bool, err error) {
	return s.remove(ctx, tx, name)
}

func (s *Scheduler) remove(ctx context.Context, tx sqltx.Tx, name string) (bool, error) {
	return s.change(ctx, tx, "remove", name, func(e *Entry, _ time.Time) (bool, error) {
		if e.State == Finished {
			return false, nil
		}
		e.State, e.Next, e.Wake = Removed, time.Time{}, time.Time{}
		return true, nil
	})
}

// Trigger sends a schedule's message now, beside its occurrences, and answers its id. It is no run, and overlaps with what it
// overlaps with.
func (s *Scheduler) Trigger(ctx context.Context, tx sqltx.Tx, name string) (id string, err error) {
	_, err = s.change(ctx, tx, "trigger", name, func(e *Entry, now time.Time) (bool, error) {
		d, _, err := readDefinition(e.Definition)
		if err != nil {
			return false, err
		}
		id = sixfold.NewID()
		broker, local := d.Message.rows(id, now)
		if err := s.write(ctx, tx, broker, local); err != nil {
			return false, fmt.Errorf("schedule: trigger %.64q: %w", name, err)
		}
		return false, s.store.History().Add(ctx, tx, Occurrence{Schedule: name, Planned: now, Promoted: now, Outcome: Triggered, ID: id,
			Local: len(local) > 0, Relayed: len(broker) > 0})
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// List answers schedules with a name behind after, in their order, at most limit.
func (s *Scheduler) List(ctx context.Context, after string, limit int) ([]Details, error) {
	es, now, err := s.store.Recurring().List(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	out := make([]Details, len(es))
	for i := range es {
		out[i] = details(es[i], now)
	}
	return out, nil
}

// Show answers one schedule, in a transaction that may be the caller's own, which locks it. An unknown one is ErrUnknown.
func (s *Scheduler) Show(ctx context.Context, tx sqltx.Tx, name string) (Details, error) {
	if err := noTx(tx, "show"); err != nil {
		return Details{}, err
	}
	e, now, err := s.store.Recurring().Find(ctx, tx, name)
	if err != nil {
		return Details{}, err
	}
	if e == nil {
		return Details{}, fmt.Errorf("%w: show schedule %.64q; list shows those that there are", ErrUnknown, name)
	}
	return details(*e, now), nil
}

// Occurrences are the past occurrences of a schedule, the latest first: those planned before before (zero: all), at most limit.
func (s *Scheduler) Occurrences(ctx context.Context, name string, before time.Time, limit int) ([]Occurrence, error) {
	return s.store.History().Occurrences(ctx, name, before, limit)
}
