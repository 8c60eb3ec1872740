package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// tickTable implements schedule.HistoryStore.
type tickTable struct {
	*scheduleSQL
	insert                                         batches
	listed, inLocal, inParked                      myStatement
	oldTicks, oldPromoted, oldSchedules, dropTicks myStatement
	purged                                         myStatement // empty: oldTicks and dropTicks do
}

const tickWidth = 9

// occurrenceKey is what is unique of an occurrence.
func occurrenceKey(o *schedule.Occurrence) tickKey {
	return tickKey{o.Schedule, o.Planned.UnixMicro()}
}

type tickKey struct {
	schedule string
	planned  int64
}

func newTickTable(d *scheduleSQL) *tickTable {
	t := &tickTable{scheduleSQL: d,
		insert: d.batches(d.ignore+"INTO {{tick}} (schedule, planned, promoted_at, outcome, id, missed, local, relayed, note) VALUES ",
			"(?1, @at(?2), @at(?3), ?4, ?5, ?6, ?7, ?8, ?9)", d.ignoreTail("schedule, planned"), tickWidth),
		listed:       d.statement("SELECT schedule, @us(planned), @us(promoted_at), outcome, id, missed, local, relayed, note FROM " + d.listed),
		inLocal:      d.statement("SELECT @text(id) FROM {{local}} WHERE id IN " + fatesOf("@id(?%d)")),
		inParked:     d.statement("SELECT id, min(state) FROM {{parked}} WHERE id IN " + fatesOf("?%d") + " GROUP BY id"),
		oldTicks:     d.statement("SELECT schedule, @us(planned) FROM {{tick}} WHERE promoted_at < @ago(?1) ORDER BY promoted_at LIMIT ?2 @skip"),
		dropTicks:    d.statement("DELETE FROM {{tick}} WHERE schedule = ?1 AND planned = @at(?2)"),
		oldPromoted:  d.statement("DELETE FROM {{promoted}} WHERE at < @ago(?1)"),
		oldSchedules: d.statement("DELETE FROM {{schedule}} WHERE state = 4 AND changed_at < @ago(?1)"),
	}
	if d.purge != "" {
		t.purged = d.statement("SELECT " + d.purge)
	}
	return t
}

func tickArgs(args []any, o *schedule.Occurrence) []any {
	return append(args, o.Schedule, microsOf(o.Planned), microsOf(o.Promoted), int(o.Outcome), o.ID, o.Missed, o.Local, o.Relayed, o.Note)
}

// errEnteredBefore says that some occurrence was there, and asks for another transaction that finds out which.
var errEnteredBefore = errors.New("store: an occurrence was entered before")

// enter adds occurrences that are not there yet, and answers which those are. Whoever advances a schedule holds its row, so
// nobody else enters its occurrences meanwhile.
func (t *tickTable) enter(ctx context.Context, tx sqltx.Tx, os []schedule.Occurrence, careful bool) (fresh map[tickKey]bool, err error) {
	if careful {
		return t.enterSingly(ctx, tx, os)
	}
	fresh = make(map[tickKey]bool, len(os))
	for i := range os {
		fresh[occurrenceKey(&os[i])] = true
	}
	n, err := t.enterAll(ctx, tx, os)
	if err == nil && int(n) < len(os) {
		err = errEnteredBefore
	}
	return fresh, err
}

// enterAll adds those that are not there yet, and answers how many.
func (t *tickTable) enterAll(ctx context.Context, tx sqltx.Tx, os []schedule.Occurrence) (int64, error) {
	if t.scheduleSQL.enter != nil {
		return t.scheduleSQL.enter(ctx, tx, os)
	}
	args := make([]any, 0, tickWidth*len(os))
	for i := range os {
		args = tickArgs(args, &os[i])
	}
	return t.insert.runIdempotent(ctx, t.scheduleSQL, tx, args)
}

// enterSingly finds out which ones were there.
func (t *tickTable) enterSingly(ctx context.Context, tx sqltx.Tx, os []schedule.Occurrence) (fresh map[tickKey]bool, err error) {
	fresh = make(map[tickKey]bool, len(os))
	for i := range os {
		n, err := t.insert.run(ctx, t.scheduleSQL, tx, tickArgs(nil, &os[i]))
		if err != nil {
			return nil, err
		}
		if n > 0 {
			fresh[occurrenceKey(&os[i])] = true
		}
	}
	return fresh, nil
}

// Add implements schedule.HistoryStore.
func (t *tickTable) Add(ctx context.Context, tx sqltx.Tx, o schedule.Occurrence) error {
	_, err := t.insert.run(ctx, t.scheduleSQL, tx, tickArgs(nil, &o))
	return failed("enter an occurrence", err)
}

// Occurrences implements schedule.HistoryStore.
func (t *tickTable) Occurrences(ctx context.Context, name string, before time.Time, limit int) (all []schedule.Occurrence, err error) {
	if before.IsZero() {
		before = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)
	}
	err = t.rows(ctx, t.listed, func(r sqltx.Rows) error {
		var o schedule.Occurrence
		var planned, promoted int64
		err := r.Scan(&o.Schedule, &planned, &promoted, &o.Outcome, &o.ID, &o.Missed, &o.Local, &o.Relayed, &o.Note)
		o.Planned, o.Promoted = instant(planned), instant(promoted)
		all = append(all, o)
		return err
	}, name, microsOf(before), limit)
	if err == nil {
		err = t.fates(ctx, all)
	}
	return all, failed("list the history of schedule "+quoteCut(name), err)
}

// fatesAtOnce is how many messages one statement looks for: local rows have no index by id, so that each statement walks them all.
const fatesAtOnce = 100

// fatesOf is the list of the parameters of that many ids.
func fatesOf(word string) string {
	ids := make([]string, fatesAtOnce)
	for i := range ids {
		ids[i] = fmt.Sprintf(word, i+1)
	}
	return "(" + strings.Join(ids, ", ") + ")"
}

// fates finds out what became of the messages, as far as this database knows. Local rows are asked for first: what is parked
// meanwhile is seen in the second place.
func (t *tickTable) fates(ctx context.Context, all []schedule.Occurrence) error {
	waiting, state := make(map[string]bool), make(map[string]int)
	var local, every []string
	for i := range all {
		if all[i].ID == "" {
			continue
		}
		every = append(every, all[i].ID)
		if all[i].Local {
			local = append(local, all[i].ID)
		}
	}
	err := t.lookUp(ctx, t.inLocal, local, func(r sqltx.Rows) error {
		var id string
		err := r.Scan(&id)
		waiting[id] = true
		return err
	})
	if err == nil {
		err = t.lookUp(ctx, t.inParked, every, func(r sqltx.Rows) error {
			var id string
			var lowest int
			err := r.Scan(&id, &lowest)
			state[id] = lowest
			return err
		})
	}
	if err != nil {
		return err
	}
	for i := range all {
		o := &all[i]
		switch {
		case o.ID == "":
		case state[o.ID] == 1:
			o.Fate = schedule.FateParked
		case state[o.ID] == 2:
			o.Fate = schedule.FateDead
		case !o.Local:
			o.Fate = schedule.FateRelayed
		case waiting[o.ID]:
			o.Fate = schedule.FateWaiting
		default:
			o.Fate = schedule.FateHandled
		}
	}
	return nil
}

// lookUp runs a statement for each fatesAtOnce of ids. The last one's parameters are filled up with its last id.
func (t *tickTable) lookUp(ctx context.Context, s myStatement, ids []string, scan func(sqltx.Rows) error) error {
	for ; len(ids) > 0; ids = ids[min(len(ids), fatesAtOnce):] {
		args := make([]any, fatesAtOnce)
		for i := range args {
			args[i] = ids[min(i, len(ids)-1)]
		}
		if err := t.rows(ctx, s, scan, args...); err != nil {
			return err
		}
	}
	return nil
}

// Purge implements schedule.HistoryStore.
func (t *tickTable) Purge(ctx context.Context, keep time.Duration, limit int) (n int, err error) {
	err = t.db.InTx(ctx, func(tx sqltx.Tx) error {
		if t.purged.sql != "" {
			return t.each(ctx, tx, t.purged, func(r sqltx.Rows) error { return r.Scan(&n) }, keep.Microseconds(), limit)
		}
		var old []tickKey
		err := t.each(ctx, tx, t.oldTicks, func(r sqltx.Rows) error {
			var k tickKey
			err := r.Scan(&k.schedule, &k.planned)
			old = append(old, k)
			return err
		}, keep.Microseconds(), limit)
		for _, k := range old {
			if err == nil {
				_, err = t.exec(ctx, tx, t.dropTicks, k.schedule, k.planned)
			}
		}
		n = len(old)
		return err
	})
	for _, old := range []struct {
		remove myStatement
		keep   time.Duration
	}{{t.oldPromoted, min(keep, schedule.Remembered)}, {t.oldSchedules, keep}} {
		if err == nil {
			err = t.db.InTx(ctx, func(tx sqltx.Tx) error {
				m, err := t.exec(ctx, tx, old.remove, old.keep.Microseconds())
				n += int(m)
				return err
			})
		}
	}
	if err != nil {
		return 0, failed("purge the history of schedules", err)
	}
	return n, nil
}
