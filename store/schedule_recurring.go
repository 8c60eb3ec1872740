package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// scheduleTable implements schedule.RecurringStore.
type scheduleTable struct {
	*scheduleSQL
	writer                                outbox.Writer
	history                               *tickTable
	bells                                 func(outbox.Table) *outbox.Bell
	find, insert, list, due, clock, owned myStatement
	lastLocal, unhandledRow, unhandledIn  myStatement
	save, step                            batches
}

// steppedColumns are those that advancing changes.
var steppedColumns = strings.Split("state runs next_due wake_at last_due last_id last_from last_to problem", " ")

var scheduleColumns = strings.Split("name spec zone definition owner state runs next_due wake_at last_due last_id last_from last_to no_overlap problem changed_at", " ")

func newScheduleTable(d *scheduleSQL, s *Store, history *tickTable) scheduleTable {
	selected, values := "@clock", make([]string, len(scheduleColumns))
	for i, c := range scheduleColumns {
		values[i] = fmt.Sprintf("?%d", i+1)
		switch c {
		case "next_due", "wake_at", "last_due", "changed_at":
			selected += ", coalesce(@us(" + c + "), 0)"
			values[i] = "@at(" + values[i] + ")"
		default:
			selected += ", " + c
		}
	}
	head := "INTO {{schedule}} (" + strings.Join(scheduleColumns, ", ") + ") VALUES "
	row := "(" + strings.Join(values, ", ") + ")"
	return scheduleTable{scheduleSQL: d, writer: s.outbox.writer, history: history, bells: s.outbox.Bell,
		find:      d.statement("SELECT " + selected + " FROM " + d.find),
		insert:    d.statement(d.ignore + head + row + d.ignoreTail("name")),
		save:      d.batches("INSERT "+head, row, d.upsert("name", scheduleColumns[1:]), len(scheduleColumns)),
		step:      d.batches("INSERT "+head, row, d.upsert("name", steppedColumns), len(scheduleColumns)),
		list:      d.statement("SELECT " + selected + " FROM {{schedule}} WHERE name > ?1 ORDER BY name LIMIT ?2"),
		due:       d.statement("SELECT " + selected + " FROM " + d.due),
		clock:     d.statement("SELECT @clock"),
		owned:     d.statement("SELECT name FROM {{schedule}} WHERE owner = ?1 AND state <> 4 ORDER BY name"),
		lastLocal: d.statement("SELECT coalesce(max(seq), 0) FROM {{local}}"),
		// What is handled just now is locked and there.
		unhandledRow: d.statement("SELECT 1 FROM {{local}} WHERE seq > ?1 AND seq <= ?2 AND id = @id(?3) LIMIT 1"),
		unhandledIn:  d.statement("SELECT 1 FROM {{parked}} WHERE id = ?1 AND state = 1 LIMIT 1"),
	}
}

func scheduleArgs(args []any, e *schedule.Entry) []any {
	definition := e.Definition
	if definition == nil {
		definition = []byte{}
	}
	return append(args, e.Name, e.Spec, e.Zone, definition, e.Owner, int(e.State), e.Runs, microsOf(e.Next), microsOf(e.Wake), microsOf(e.Last),
		e.LastID, e.LastFrom, e.LastTo, e.NoOverlap, e.Problem, microsOf(e.Changed))
}

// scanEntries collects schedules, and the time.
func scanEntries(es *[]schedule.Entry, now *time.Time) func(sqltx.Rows) error {
	return func(r sqltx.Rows) error {
		var e schedule.Entry
		var clock, next, wake, last, changed int64
		err := r.Scan(&clock, &e.Name, &e.Spec, &e.Zone, &e.Definition, &e.Owner, &e.State, &e.Runs, &next, &wake, &last,
			&e.LastID, &e.LastFrom, &e.LastTo, &e.NoOverlap, &e.Problem, &changed)
		e.Next, e.Wake, e.Last, e.Changed, *now = instant(next), instant(wake), instant(last), instant(changed), instant(clock)
		*es = append(*es, e)
		return err
	}
}

func (t *scheduleTable) time(ctx context.Context, tx sqltx.Tx) (now time.Time, err error) {
	var us int64
	err = t.each(ctx, tx, t.clock, func(r sqltx.Rows) error { return r.Scan(&us) })
	return instant(us), err
}

// Find implements schedule.RecurringStore.
func (t *scheduleTable) Find(ctx context.Context, tx sqltx.Tx, name string) (e *schedule.Entry, now time.Time, err error) {
	var es []schedule.Entry
	if err = t.each(ctx, tx, t.find, scanEntries(&es, &now), name); err == nil && len(es) == 0 {
		now, err = t.time(ctx, tx)
	}
	if err != nil {
		return nil, now, failed("find schedule "+quoteCut(name), err)
	}
	if len(es) == 0 {
		return nil, now, nil
	}
	return &es[0], now, nil
}

// Save implements schedule.RecurringStore.
func (t *scheduleTable) Save(ctx context.Context, tx sqltx.Tx, e *schedule.Entry, isNew bool) (done bool, err error) {
	n := int64(1)
	if isNew {
		n, err = t.exec(ctx, tx, t.insert, scheduleArgs(nil, e)...)
	} else {
		_, err = t.save.run(ctx, t.scheduleSQL, tx, scheduleArgs(nil, e))
	}
	return n > 0, failed("save schedule "+quoteCut(e.Name), err)
}

// Owned implements schedule.RecurringStore.
func (t *scheduleTable) Owned(ctx context.Context, tx sqltx.Tx, owner string) (names []string, err error) {
	err = t.each(ctx, tx, t.owned, func(r sqltx.Rows) error {
		var name string
		err := r.Scan(&name)
		names = append(names, name)
		return err
	}, owner)
	return names, failed("list the schedules of an owner", err)
}

// List implements schedule.RecurringStore.
func (t *scheduleTable) List(ctx context.Context, after string, limit int) (es []schedule.Entry, now time.Time, err error) {
	if err = t.rows(ctx, t.list, scanEntries(&es, &now), after, limit); err == nil && len(es) == 0 {
		var us int64
		err = t.rows(ctx, t.clock, func(r sqltx.Rows) error { return r.Scan(&us) })
		now = instant(us)
	}
	return es, now, failed("list schedules", err)
}

// Advance implements schedule.RecurringStore.
func (t *scheduleTable) Advance(ctx context.Context, limit int, plan func(time.Time, []schedule.Entry) []schedule.Step) (n int, err error) {
	careful := false
	for {
		n, err = t.advance(ctx, limit, plan, careful)
		if !errors.Is(err, errEnteredBefore) {
			return n, failed("advance schedules", err)
		}
		careful = true
	}
}

func (t *scheduleTable) advance(ctx context.Context, limit int, plan func(time.Time, []schedule.Entry) []schedule.Step, careful bool) (n int, err error) {
	var wrote [2]bool
	err = t.db.InTx(ctx, func(tx sqltx.Tx) error {
		var es []schedule.Entry
		var now time.Time
		n, wrote = 0, [2]bool{} // the library may run this again
		if err := t.each(ctx, tx, t.due, scanEntries(&es, &now), limit); err != nil {
			return err
		}
		if n = len(es); n == 0 {
			return nil
		}
		if err := t.unhandled(ctx, tx, es); err != nil {
			return err
		}
		wrote, err = t.write(ctx, tx, plan(now, es), careful)
		return err
	})
	if err != nil {
		return 0, err
	}
	for table, yes := range wrote {
		if yes {
			t.bells(outbox.Table(table)).Ring(outbox.Now)
		}
	}
	return n, nil
}

// unhandled asks which last messages are not handled yet.
func (t *scheduleTable) unhandled(ctx context.Context, tx sqltx.Tx, es []schedule.Entry) error {
	if t.scheduleSQL.unhandled != nil {
		return t.scheduleSQL.unhandled(ctx, tx, es)
	}
	for i := range es {
		e := &es[i]
		if !e.NoOverlap || e.LastID == "" {
			continue
		}
		yes := func(sqltx.Rows) error { e.Unhandled = true; return nil }
		err := t.each(ctx, tx, t.unhandledRow, yes, e.LastFrom, e.LastTo, e.LastID)
		if err == nil && !e.Unhandled {
			err = t.each(ctx, tx, t.unhandledIn, yes, e.LastID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write enters occurrences, writes the messages of those that were not entered before, and saves the schedules.
func (t *scheduleTable) write(ctx context.Context, tx sqltx.Tx, steps []schedule.Step, careful bool) (wrote [2]bool, err error) {
	var occurrences []schedule.Occurrence
	for i := range steps {
		for j := range steps[i].Occurrences {
			occurrences = append(occurrences, steps[i].Occurrences[j].Occurrence)
		}
	}
	fresh, err := t.history.enter(ctx, tx, occurrences, careful)
	if err != nil {
		return wrote, err
	}
	var rows [2][]outbox.Row
	noOverlap := false
	for i := range steps {
		for j := range steps[i].Occurrences {
			b := &steps[i].Occurrences[j]
			if !fresh[occurrenceKey(&b.Occurrence)] {
				continue
			}
			rows[outbox.ToBroker] = append(rows[outbox.ToBroker], b.Broker...)
			rows[outbox.ToLocal] = append(rows[outbox.ToLocal], b.Local...)
			noOverlap = noOverlap || steps[i].Entry.NoOverlap && len(b.Local) > 0
		}
	}
	var from, to int64
	if noOverlap {
		if err := t.each(ctx, tx, t.lastLocal, func(r sqltx.Rows) error { return r.Scan(&from) }); err != nil {
			return wrote, err
		}
	}
	for table, all := range rows {
		if len(all) == 0 {
			continue
		}
		appendTo := func(tx sqltx.Tx) error {
			_, _, err := t.writer.Append(ctx, tx, outbox.Table(table), all, false)
			return err
		}
		err := appendTo(tx)
		if planted.Is(planted.PromotedApart) {
			err = t.db.InTx(ctx, appendTo)
		}
		if err != nil {
			return wrote, err
		}
		wrote[table] = true
	}
	if noOverlap {
		if err := t.each(ctx, tx, t.lastLocal, func(r sqltx.Rows) error { return r.Scan(&to) }); err != nil {
			return wrote, err
		}
	}
	es := make([]*schedule.Entry, len(steps))
	for i := range steps {
		if es[i] = &steps[i].Entry; es[i].NoOverlap && hasLocal(&steps[i]) {
			es[i].LastFrom, es[i].LastTo = from, to
		}
	}
	return wrote, t.saveSteps(ctx, tx, es)
}

// saveSteps writes what advancing changes. The rows are there, so what else an INSERT has to name is not used.
func (t *scheduleTable) saveSteps(ctx context.Context, tx sqltx.Tx, es []*schedule.Entry) error {
	if t.scheduleSQL.save != nil {
		return t.scheduleSQL.save(ctx, tx, es)
	}
	args := make([]any, 0, len(scheduleColumns)*len(es))
	for _, e := range es {
		args = scheduleArgs(args, &schedule.Entry{Name: e.Name, State: e.State, Runs: e.Runs, Next: e.Next, Wake: e.Wake, Last: e.Last, LastID: e.LastID,
			LastFrom: e.LastFrom, LastTo: e.LastTo, Problem: e.Problem, Changed: e.Changed})
	}
	_, err := t.step.runIdempotent(ctx, t.scheduleSQL, tx, args)
	return err
}

func hasLocal(s *schedule.Step) bool {
	for i := range s.Occurrences {
		if len(s.Occurrences[i].Local) > 0 {
			return true
		}
	}
	return false
}
