package store

import (
	"context"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// delayedTable implements schedule.DelayedStore, and Delay of outbox.Writer.
type delayedTable struct {
	*scheduleSQL
	bells                                         func(outbox.Table) *outbox.Bell
	insert                                        batches
	cancel, move, wasPromoted, waiting, waitingOf myStatement
	answers                                       bool // cancel and move answer what they found
}

// delayedWidth is the number of values of a delayed row.
const delayedWidth = 10

func newDelayedTable(d *scheduleSQL, bells func(outbox.Table) *outbox.Bell) delayedTable {
	columns := "SELECT n, @us(due_at), @us(due_at) - @clock, local, partition, @text(id), class, topic, coalesce(key, ''), attrs, body FROM {{delayed}} "
	t := delayedTable{scheduleSQL: d, bells: bells, answers: d.cancel != "",
		insert: d.batches("INSERT INTO {{delayed}} (due_at, local, partition, id, class, topic, key, attrs, body, created_at) VALUES ",
			"(coalesce(@at(?1), @in(?2)), ?3, ?4, @id(?5), ?6, ?7, ?8, ?9, ?10, @now)", "", delayedWidth),
		cancel: d.statement("DELETE FROM {{delayed}} WHERE id = @id(?1)"),
		move:   d.statement("UPDATE {{delayed}} SET due_at = coalesce(@at(?2), @in(?3)) WHERE id = @id(?1)"),
		// The place of an id in the text is a multiple of its length and a comma.
		wasPromoted: d.statement("SELECT 1 FROM {{promoted}} WHERE ids LIKE ?1 LIMIT 1"),
		waiting:     d.statement(columns + "WHERE due_at > @at(?1) OR due_at = @at(?1) AND n > ?2 ORDER BY due_at, n LIMIT ?3"),
		waitingOf:   d.statement(columns + "WHERE id = @id(?1) ORDER BY due_at, n LIMIT ?2"),
	}
	if t.answers {
		t.cancel, t.move = d.statement(d.cancel), d.statement(d.move)
	}
	return t
}

// Delay writes rows in the caller's transaction and answers those that are refused for their claims.
func (t *delayedTable) Delay(ctx context.Context, tx sqltx.Tx, rows []outbox.DelayedRow) (refused []int, err error) {
	plain := make([]outbox.Row, len(rows))
	for i := range rows {
		plain[i] = rows[i].Row
		if n := sizeOf(&rows[i].Row); n > roundTrip {
			return nil, fmt.Errorf("store: delay: row %d of %d has %d bytes, the limit is %d; put the data elsewhere and send a reference", i+1, len(rows), n, roundTrip)
		}
	}
	no := make(map[int]bool)
	if anyClaims(plain) {
		if refused, err = t.claimed(ctx, tx, plain); err != nil {
			return nil, failed("delay", err)
		}
		for _, i := range refused {
			no[i] = true
		}
	}
	args, size := make([]any, 0, delayedWidth*len(rows)), 0
	flush := func() error {
		_, err := t.insert.run(ctx, t.scheduleSQL, tx, args)
		args, size = args[:0], 0
		return err
	}
	for i := range rows {
		if no[i] {
			continue
		}
		r := &rows[i]
		if size += sizeOf(&r.Row); size > roundTrip/4 {
			if err := flush(); err != nil {
				return nil, failed("delay", err)
			}
			size = sizeOf(&r.Row)
		}
		args = append(args, microsOf(r.At), r.After.Microseconds(), r.Table == outbox.ToLocal)
		args = valuesOf(args, &r.Row)
	}
	return refused, failed("delay", flush())
}

// Promote implements schedule.DelayedStore.
func (t *delayedTable) Promote(ctx context.Context, limit int, from time.Time) (schedule.Promotion, error) {
	p, err := t.promote(ctx, limit, from)
	if p.Moved > 0 {
		t.bells(outbox.ToBroker).Ring(outbox.Now)
		t.bells(outbox.ToLocal).Ring(outbox.Now)
	}
	return p, failed("promote delayed messages", err)
}

// Cancel implements schedule.DelayedStore. It waits for a transaction that is moving the message.
func (t *delayedTable) Cancel(ctx context.Context, tx sqltx.Tx, id string) (schedule.Found, error) {
	found, err := t.change(ctx, tx, t.cancel, id, id)
	return found, failed("cancel a delayed message", err)
}

// Reschedule implements schedule.DelayedStore. It waits for a transaction that is moving the message.
func (t *delayedTable) Reschedule(ctx context.Context, tx sqltx.Tx, id string, at time.Time, after time.Duration) (schedule.Found, error) {
	found, err := t.change(ctx, tx, t.move, id, id, microsOf(at), after.Microseconds())
	return found, failed("reschedule a delayed message", err)
}

func (t *delayedTable) change(ctx context.Context, tx sqltx.Tx, s myStatement, id string, args ...any) (found schedule.Found, err error) {
	if t.answers {
		err = t.each(ctx, tx, s, func(r sqltx.Rows) error { return r.Scan(&found) }, args...)
		return found, err
	}
	n, err := t.exec(ctx, tx, s, args...)
	if err != nil || n > 0 {
		return schedule.Changed, err
	}
	err = t.each(ctx, tx, t.wasPromoted, func(sqltx.Rows) error { found = schedule.Promoted; return nil }, "%"+id+"%")
	return found, err
}

// List implements schedule.DelayedStore.
func (t *delayedTable) List(ctx context.Context, page schedule.DelayedPage) (all []schedule.Waiting, err error) {
	scan := func(r sqltx.Rows) error {
		var w schedule.Waiting
		var at, in int64
		var local bool
		err := r.Scan(&w.N, &at, &in, &local, &w.Partition, &w.ID, &w.Class, &w.Topic, &w.Key, &w.Attrs, &w.Body)
		if local {
			w.Table = outbox.ToLocal
		}
		w.At, w.In = instant(at), time.Duration(in)*time.Microsecond
		all = append(all, w)
		return err
	}
	if page.ID != "" {
		err = t.rows(ctx, t.waitingOf, scan, page.ID, page.Limit)
	} else {
		after := page.After
		if after.IsZero() {
			after = time.UnixMicro(0)
		}
		err = t.rows(ctx, t.waiting, scan, after.UnixMicro(), page.AfterN, page.Limit)
	}
	return all, failed("list delayed messages", err)
}
