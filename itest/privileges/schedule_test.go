package privileges

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// scheduled is what a process does that schedules, and runs a scheduler.
func scheduled(ctx context.Context, _ *world, p sqltx.Runner, st *store.Store) error {
	s := st.Schedule()
	rows := []outbox.DelayedRow{{Row: row("", "orders", "k"), After: time.Microsecond}, {Row: row("shipping", "", "k"), Table: outbox.ToLocal, After: time.Microsecond},
		{Row: row("", "orders", "k"), After: time.Hour}}
	rows[0].Claim = "delayed"
	e := schedule.Entry{Name: "a", Definition: []byte("{}"), State: schedule.Active, NoOverlap: true, LastID: sixfold.NewID(),
		Next: time.UnixMicro(1), Wake: time.UnixMicro(1), Changed: time.UnixMicro(1)}
	err := p.InTx(ctx, func(tx sqltx.Tx) error {
		if _, _, err := st.Outbox().Writer().Delay(ctx, tx, rows, true); err != nil {
			return err
		}
		if _, err := s.Recurring().Owned(ctx, tx, ""); err != nil {
			return err
		}
		if _, err := s.Recurring().Save(ctx, tx, &e, true); err != nil {
			return err
		}
		return control(ctx, tx, st, rows[2].ID)
	})
	if err != nil {
		return err
	}
	if _, err := s.Next(ctx, time.Time{}); err != nil {
		return err
	}
	moved, err := s.Delayed().Promote(ctx, 10, time.Time{})
	if err != nil {
		return err
	}
	n, err := s.Recurring().Advance(ctx, 10, func(now time.Time, due []schedule.Entry) []schedule.Step {
		due[0].Wake = time.Time{}
		return []schedule.Step{{Entry: due[0], Occurrences: []schedule.Begun{{Occurrence: schedule.Occurrence{Schedule: "a", Planned: time.UnixMicro(1), Promoted: now},
			Broker: []outbox.Row{row("", "orders", "k")}, Local: []outbox.Row{row("shipping", "", "k")}}}}}
	})
	if err != nil {
		return err
	}
	if _, err := s.History().Occurrences(ctx, "a", time.Time{}, 10); err != nil {
		return err
	}
	if _, err := s.History().Purge(ctx, time.Microsecond, 10); err != nil {
		return err
	}
	return check(moved.Moved == 2 && n == 1, "%d messages and %d schedules were due", moved.Moved, n)
}

// control is what people do to a delayed message and a schedule.
func control(ctx context.Context, tx sqltx.Tx, st *store.Store, id string) error {
	s := st.Schedule()
	if _, err := s.Delayed().Reschedule(ctx, tx, id, time.Time{}, time.Hour); err != nil {
		return err
	}
	for range 2 { // the second looks whether it was promoted
		if _, err := s.Delayed().Cancel(ctx, tx, id); err != nil {
			return err
		}
	}
	e, _, err := s.Recurring().Find(ctx, tx, "a")
	if err != nil {
		return err
	}
	if e == nil {
		e = &schedule.Entry{Name: "a", Definition: []byte("{}"), State: schedule.Active, Changed: time.UnixMicro(1)}
	}
	if _, err := s.Recurring().Save(ctx, tx, e, false); err != nil {
		return err
	}
	for t, r := range map[outbox.Table]outbox.Row{outbox.ToBroker: row("", "orders", "k"), outbox.ToLocal: row("shipping", "", "k")} {
		if _, _, err := st.Outbox().Writer().Append(ctx, tx, t, []outbox.Row{r}, false); err != nil {
			return err
		}
	}
	return s.History().Add(ctx, tx, schedule.Occurrence{Schedule: "a", Planned: time.UnixMicro(2), Promoted: time.UnixMicro(2), Outcome: schedule.Triggered})
}

// operateSchedules is control as an operator has it.
func operateSchedules(ctx context.Context, _ *world, p sqltx.Runner, st *store.Store) error {
	return p.InTx(ctx, func(tx sqltx.Tx) error { return control(ctx, tx, st, sixfold.NewID()) })
}

// listSchedules is what lists of them read.
func listSchedules(ctx context.Context, _ *world, _ sqltx.Runner, st *store.Store) error {
	s := st.Schedule()
	if _, err := s.Delayed().List(ctx, schedule.DelayedPage{Limit: 10}); err != nil {
		return err
	}
	if _, _, err := s.Recurring().List(ctx, "", 10); err != nil {
		return err
	}
	_, err := s.History().Occurrences(ctx, "a", time.Time{}, 10)
	return err
}
