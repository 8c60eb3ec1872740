package store

import (
	"context"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// mySchedule is what MySQL does in its own way for the scheduler.
type mySchedule struct {
	*my
	writer          *myWriter
	turn, due, note myStatement
	move            [2]myStatement
	remove          myStatement
}

// scheduleSlot of the gate is held by who moves what is due.
const scheduleSlot = "100"

func newMySchedule(m *my, w *myWriter) *scheduleSQL {
	p := &mySchedule{my: m, writer: w,
		turn:   m.statement("SELECT nothing FROM {{gate}} WHERE slot = " + scheduleSlot + " FOR UPDATE SKIP LOCKED"),
		due:    m.statement("SELECT n, due_at, id FROM {{delayed}} FORCE INDEX ({{bare delayed_due}}) WHERE due_at <= " + myNow + " AND due_at >= ?1 ORDER BY due_at, n LIMIT ?2 FOR UPDATE SKIP LOCKED"),
		note:   m.statement("INSERT INTO {{promoted}} (at, ids) VALUES (" + myNow + ", ?1)"),
		remove: m.statement("DELETE o FROM " + myNumbers("?1") + " STRAIGHT_JOIN {{delayed}} o FORCE INDEX (PRIMARY) ON o.n = j.n"),
	}
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		p.move[t] = m.statement("INSERT INTO {{" + t.String() + "}} (attempts, " + appendColumns + ") SELECT " + myGate(t) + ", o.partition, o.id, o.class, o.topic, o.key, o.attrs, o.body " +
			"FROM " + myNumbers("?1") + " STRAIGHT_JOIN {{delayed}} o FORCE INDEX (PRIMARY) ON o.n = j.n WHERE o.local = ?2 ORDER BY o.due_at, o.n")
	}
	words := scheduleWords{now: myNow, clock: myNow, at: same, us: same, id: same, text: same,
		in:   func(x string) string { return myNow + " + " + x },
		ago:  func(x string) string { return myNow + " - " + x },
		lock: "FOR UPDATE", skip: "FOR UPDATE SKIP LOCKED"}
	return &scheduleSQL{db: m.db, upsert: onDuplicateKey, ignore: "INSERT IGNORE ", ignoreTail: func(string) string { return "" }, claimed: p.claimed, promote: p.promoted, next: scheduleNext, find: scheduleFind, due: scheduleDue, listed: tickListed,
		statement: func(sql string) myStatement { return m.statement(words.fill(sql)) }}
}

// onDuplicateKey is the end of an INSERT that replaces columns.
func onDuplicateKey(_ string, columns []string) string {
	sets := make([]string, len(columns))
	for i, c := range columns {
		sets[i] = c + " = VALUES(" + c + ")"
	}
	return " ON DUPLICATE KEY UPDATE " + strings.Join(sets, ", ")
}

func (p *mySchedule) promoted(ctx context.Context, limit int, from time.Time) (out schedule.Promotion, err error) {
	since := int64(0)
	if !from.IsZero() {
		since = from.UnixMicro()
	}
	err = p.db.InTx(ctx, func(tx sqltx.Tx) error {
		out = schedule.Promotion{} // the library may run this again
		if mine, err := p.turn.found(ctx, tx); err != nil || !mine {
			out.Busy = err == nil
			return err
		}
		var ns []int64
		var ids []string
		var last int64
		err := p.due.each(ctx, tx, func(r sqltx.Rows) error {
			var n int64
			var id string
			err := r.Scan(&n, &last, &id)
			ns, ids = append(ns, n), append(ids, id)
			return err
		}, since, limit)
		if err != nil || len(ns) == 0 {
			return err
		}
		out.Moved, out.Last = len(ns), instant(last)
		list := jsonInts(ns)
		for t, local := range [2]bool{outbox.ToLocal: true} {
			if _, err := p.move[t].exec(ctx, tx, list, local); err != nil {
				return err
			}
		}
		if _, err := p.note.exec(ctx, tx, strings.Join(ids, ",")); err != nil {
			return err
		}
		_, err = p.remove.exec(ctx, tx, list)
		return err
	})
	return out, err
}

func (p *mySchedule) claimed(ctx context.Context, tx sqltx.Tx, rows []outbox.Row) ([]int, error) {
	refused, _, err := p.writer.claimed(ctx, tx, rows)
	return refused, err
}

// Delay implements outbox.Writer.
func (w *myWriter) Delay(ctx context.Context, tx sqltx.Tx, rows []outbox.DelayedRow, wantXact bool) (refused []int, xact string, err error) {
	if wantXact {
		xact = sixfold.NewID()
		if _, err := w.mark.exec(ctx, tx, markClaim(xact), markFor.Microseconds()); err != nil {
			return nil, "", failed("mark the transaction", err)
		}
	}
	refused, err = w.later.Delay(ctx, tx, rows)
	return refused, xact, err
}
