package schedule

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Change is what an Upsert did.
type Change string

const (
	Unchanged Change = "unchanged"
	Added     Change = "added"
	Altered   Change = "changed"
)

// Upsert adds a schedule, or changes the one of that name, when tx commits. Its first occurrence is the first after now, by the
// database's clock. One whose times do not change keeps its next occurrence, and what is paused stays so. What it says is
// complete: a policy that is left out becomes the default again.
func (s *Scheduler) Upsert(ctx context.Context, tx sqltx.Tx, r Recurring) (Change, error) {
	return s.upsert(ctx, tx, &r, "")
}

func (s *Scheduler) upsert(ctx context.Context, tx sqltx.Tx, r *Recurring, owner string) (Change, error) {
	if err := noTx(tx, "upsert"); err != nil {
		return "", err
	}
	d, cal, err := s.define(r)
	if err != nil {
		return "", err
	}
	encoded, err := d.encode()
	if err != nil {
		return "", fmt.Errorf("schedule: upsert %.64q: %w", r.Name, err)
	}
	e, now, err := s.store.Recurring().Find(ctx, tx, r.Name)
	if err != nil {
		return "", err
	}
	if e == nil {
		e = &Entry{Name: r.Name, Owner: owner, State: Active, Changed: now, Spec: d.Spec, Zone: d.Zone, Definition: encoded, NoOverlap: d.NoOverlap}
		if err := d.begin(&cal, e, now); err != nil {
			return "", err
		}
		done, err := s.store.Recurring().Save(ctx, tx, e, true)
		if err != nil || done {
			s.changed()
			return Added, err
		}
		if e, now, err = s.store.Recurring().Find(ctx, tx, r.Name); err != nil {
			return "", err
		}
		if e == nil {
			return "", fmt.Errorf("schedule: upsert %.64q: another transaction made it a moment ago, and this one cannot see it; run it again", r.Name)
		}
	}
	change := Altered
	again := e.State == Removed
	switch {
	case again:
		change, e.Runs = Added, 0
	case bytes.Equal(e.Definition, encoded) && (owner == "" || e.Owner == owner):
		return Unchanged, nil
	}
	old, _, oerr := readDefinition(e.Definition)
	e.Spec, e.Zone, e.Definition, e.NoOverlap, e.Problem, e.Changed = d.Spec, d.Zone, encoded, d.NoOverlap, "", now
	if owner != "" || again {
		e.Owner = owner
	}
	if again || oerr != nil || e.Next.IsZero() || !old.sameTimes(&d) {
		if e.State != Paused {
			e.State = Active
		}
		if err := d.begin(&cal, e, now); err != nil {
			return "", err
		}
	} else if e.State == Active {
		e.Wake = d.wake(e.Name, e.Next)
	}
	if _, err = s.store.Recurring().Save(ctx, tx, e, false); err == nil {
		s.changed()
	}
	return change, err
}

// begin plans the first occurrence after now, and after all that were decided on before: the database's clock may have gone back.
func (d *definition) begin(cal *Calendar, e *Entry, now time.Time) error {
	if e.Last.After(now) {
		now = e.Last
	}
	d.plan(cal, e, now)
	if e.State != Finished {
		return nil
	}
	if d.MaxRuns > 0 && e.Runs >= int64(d.MaxRuns) {
		return nil // it had them before it was changed
	}
	return fmt.Errorf("schedule: %.64q: %w: it is not due any more after %s; give a later End", e.Name, sixfold.ErrInvalid, now.Format(time.RFC3339))
}

// sameTimes reports whether both are due at the same times.
func (d *definition) sameTimes(o *definition) bool {
	return d.Spec == o.Spec && d.Zone == o.Zone && d.Missing == o.Missing && d.Repeated == o.Repeated && d.Start.Equal(o.Start) && d.End.Equal(o.End) && d.MaxRuns == o.MaxRuns
}

// Report is what a Reconcile did: names of schedules, in order.
type Report struct{ Added, Changed, Removed []string }

// Reconcile makes the schedules of Options.Owner those that are declared, and no others: it adds, changes and removes. Call it when
// a program starts. What was made with Upsert belongs to no owner, and stays.
func (s *Scheduler) Reconcile(ctx context.Context, tx sqltx.Tx, declared ...Recurring) (Report, error) {
	var out Report
	if err := noTx(tx, "reconcile"); err != nil {
		return out, err
	}
	declared = slices.Clone(declared)
	// In one order, so that processes that start at once do not deadlock.
	slices.SortFunc(declared, func(a, b Recurring) int { return strings.Compare(a.Name, b.Name) })
	var errs []error
	names := make(map[string]bool, len(declared))
	for i := range declared {
		if names[declared[i].Name] {
			errs = append(errs, fmt.Errorf("schedule: reconcile: %w: %.64q is declared twice; give each a name of its own", sixfold.ErrInvalid, declared[i].Name))
		}
		names[declared[i].Name] = true
		_, _, err := s.define(&declared[i])
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return out, err
	}
	for i := range declared {
		change, err := s.upsert(ctx, tx, &declared[i], s.opts.Owner)
		if err != nil {
			return Report{}, err
		}
		switch change {
		case Added:
			out.Added = append(out.Added, declared[i].Name)
		case Altered:
			out.Changed = append(out.Changed, declared[i].Name)
		}
	}
	owned, err := s.store.Recurring().Owned(ctx, tx, s.opts.Owner)
	if err != nil {
		return Report{}, err
	}
	for _, name := range owned {
		if names[name] {
			continue
		}
		changed, err := s.remove(ctx, tx, name)
		if err != nil {
			return Report{}, err
		}
		if changed {
			out.Removed = append(out.Removed, name)
		}
	}
	return out, nil
}

// write writes a message in tx.
func (s *Scheduler) write(ctx context.Context, tx sqltx.Tx, broker, local []outbox.Row) error {
	st := s.box.Store()
	for table, rows := range [2][]outbox.Row{outbox.ToBroker: broker, outbox.ToLocal: local} {
		if len(rows) == 0 {
			continue
		}
		if _, _, err := st.Writer().Append(ctx, tx, outbox.Table(table), rows, false); err != nil {
			return err
		}
		st.Bell(outbox.Table(table)).Ring(outbox.Soon)
	}
	return nil
}
