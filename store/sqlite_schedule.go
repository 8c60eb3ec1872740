package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// liteSchedule is what SQLite does in its own way for the scheduler. Its one writer is all the locking that there is.
type liteSchedule struct {
	*lite
	due, note, remove, step string
	move                    [2]string
}

func newLiteSchedule(l *lite) *scheduleSQL {
	p := &liteSchedule{lite: l,
		due:    l.names.fill("SELECT count(*), max(due_at), group_concat(id) FROM (SELECT id, due_at FROM {{delayed}} WHERE due_at <= ?1 AND due_at >= ?2 ORDER BY due_at, n LIMIT ?3)"),
		note:   l.names.fill("INSERT INTO {{promoted}} (at, ids) VALUES (?1, ?2)"),
		remove: l.names.fill("DELETE FROM {{delayed}} WHERE n IN (SELECT n FROM {{delayed}} WHERE due_at <= ?1 AND due_at >= ?2 ORDER BY due_at, n LIMIT ?3)"),
	}
	// Half of what a statement costs is that it is prepared, and an INSERT that becomes an UPDATE is twice as long.
	p.step = l.names.fill("UPDATE {{schedule}} SET " + strings.Join(steppedColumns, " = ?, ") + " = ? WHERE name = ?")
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		p.move[t] = l.names.fill("INSERT INTO {{" + t.String() + "}} (" + appendColumns + ", created_at) SELECT " + appendColumns + ", ?1 FROM (SELECT * FROM {{delayed}} " +
			"WHERE due_at <= ?1 AND due_at >= ?2 ORDER BY due_at, n LIMIT ?3) WHERE local = ?4 ORDER BY due_at, n")
	}
	words := scheduleWords{now: "@now", clock: "@now", at: same, us: same, id: same, text: same,
		in:  func(x string) string { return "@now + " + x },
		ago: func(x string) string { return "@now - " + x }}
	return &scheduleSQL{db: l.db, upsert: onConflictUpdate, ignore: "INSERT ", ignoreTail: onConflictNothing, claimed: p.claimed, promote: p.promoted, next: scheduleNext, find: scheduleFind, due: scheduleDue, listed: tickListed, save: p.save,
		statement: func(sql string) myStatement { return myStatement{sql: l.names.fill(words.fill(sql))} },
		late:      func(sql string) string { return strings.ReplaceAll(sql, "@now", strconv.FormatInt(l.now(), 10)) }}
}

func (p *liteSchedule) promoted(ctx context.Context, limit int, from time.Time) (out schedule.Promotion, err error) {
	since := int64(0)
	if !from.IsZero() {
		since = from.UnixMicro()
	}
	err = p.db.InTx(ctx, func(tx sqltx.Tx) error {
		out = schedule.Promotion{}
		now := p.now()
		args := []any{now, since, limit}
		var last *int64
		var ids *string
		if err := tx.Each(ctx, p.due, args, func(r sqltx.Rows) error { return r.Scan(&out.Moved, &last, &ids) }); err != nil || out.Moved == 0 {
			return err
		}
		out.Last = instant(*last)
		for t, local := range [2]bool{outbox.ToLocal: true} {
			if _, err := tx.Exec(ctx, p.move[t], append(args[:3:3], boolInt(local))...); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, p.note, now, *ids); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, p.remove, args...)
		return err
	})
	return out, err
}

func (p *liteSchedule) save(ctx context.Context, tx sqltx.Tx, es []*schedule.Entry) error {
	for _, e := range es {
		// In the order of steppedColumns.
		_, err := tx.Exec(ctx, p.step, int(e.State), e.Runs, microsOf(e.Next), microsOf(e.Wake), microsOf(e.Last), e.LastID, e.LastFrom, e.LastTo, e.Problem, e.Name)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *liteSchedule) claimed(ctx context.Context, tx sqltx.Tx, rows []outbox.Row) ([]int, error) {
	refused, _, err := newLiteWriter(p.lite).claimed(ctx, tx, rows)
	return refused, err
}

// Delay implements outbox.Writer.
func (w *liteWriter) Delay(ctx context.Context, tx sqltx.Tx, rows []outbox.DelayedRow, _ bool) (refused []int, xact string, err error) {
	refused, err = w.later.Delay(ctx, tx, rows)
	return refused, "", err
}
