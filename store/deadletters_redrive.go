package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Redrive implements deadletter.Writer. A number never changes, so the messages of a key keep their order; lines are
// locked before rows, as everybody does.
func (d *DeadLetters) Redrive(ctx context.Context, r deadletter.Run, after int64, limit int) (step deadletter.Step, err error) {
	sent := false
	err = d.change(ctx, func(tx sqltx.Tx) error {
		step = deadletter.Step{}
		ns, next, err := d.pick(ctx, tx, &r, after, limit, limit > 1)
		step.Next = next
		if err != nil || len(ns) == 0 {
			return err
		}
		rows, err := d.lock(ctx, tx, ns, false)
		if err != nil {
			return err
		}
		var back, relayed []parkedRow
		for _, p := range rows {
			switch {
			case !p.dead: // since it was picked
			case p.handled:
				step.Skipped = append(step.Skipped, deadletter.Skip{N: p.n, Why: "the inbox says that another copy of it was handled; discard it"})
			case p.relay:
				relayed = append(relayed, p)
			default:
				back = append(back, p)
			}
		}
		entries, err := d.toLines(ctx, tx, back, &step)
		if err != nil {
			return err
		}
		more, err := d.toOutbox(ctx, tx, relayed, limit == 1, &step)
		if err != nil {
			return err
		}
		sent = len(more) > 0
		return d.audit(ctx, tx, r.Who, "redrive", r.ID, r.Reason, append(entries, more...))
	})
	if err != nil {
		return deadletter.Step{}, failed("redrive dead letters", err)
	}
	if sent {
		d.s.outbox.bells[outbox.ToBroker].Ring(outbox.Now)
	}
	return step, nil
}

// toLines puts messages of consumers back into the lines of their keys; one without a key gets a line of its own. A line that
// was blocked by one of them, or begins with one now, is due, unless another dead letter blocks it.
func (d *DeadLetters) toLines(ctx context.Context, tx sqltx.Tx, rows []parkedRow, step *deadletter.Step) ([]auditEntry, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	ns := numbers(rows)
	if err := d.ownLines(ctx, tx, rows); err != nil {
		return nil, err
	}
	for _, sql := range []func(q *letterSQL) string{
		func(q *letterSQL) string {
			into, longer := "{{line}} AS l", " ON CONFLICT (consumer, key) DO UPDATE SET size = l.size + excluded.size"
			if q.my {
				into, longer = "{{line}}", " ON DUPLICATE KEY UPDATE size = {{line}}.size + VALUES(size)"
			}
			return "INSERT INTO " + into + " (consumer, key, due, size) SELECT p.consumer, p.key, " + q.instant() + ", count(*) FROM {{parked}} p WHERE p.n " + q.list(ns) +
				" AND p.line IS NULL AND p.key IS NOT NULL GROUP BY p.consumer, p.key ORDER BY p.consumer, " + q.binary("p.key") + longer
		},
		func(q *letterSQL) string {
			return "UPDATE {{parked}} AS p SET state = 1, attempts = 0, epoch = p.epoch + 1, reason = '', " +
				"line = coalesce(p.line, (SELECT l.id FROM {{line}} l WHERE l.consumer = p.consumer AND l.key = p.key)) WHERE p.n " + q.list(ns)
		},
		func(q *letterSQL) string {
			return q.enteredAs(2, 3, "n "+q.list(ns))
		},
	} {
		q := d.sql()
		if _, err := q.exec(ctx, tx, sql(q)); err != nil {
			return nil, err
		}
	}
	var lines, opened []int64
	q := d.sql()
	err := q.each(ctx, tx, "SELECT DISTINCT line FROM {{parked}} WHERE n "+q.list(ns), scanInts(&lines))
	if err == nil {
		q = d.sql()
		err = q.each(ctx, tx, "SELECT l.id FROM {{line}} l WHERE l.id "+q.list(lines)+" AND (SELECT min(h.n) FROM {{parked}} h WHERE h.line = l.id) "+q.list(ns), scanInts(&opened))
	}
	if err == nil {
		err = d.settleLines(ctx, tx, lines, opened, ns)
	}
	if err != nil {
		return nil, err
	}
	entries := make([]auditEntry, len(rows))
	for i := range rows {
		p := &rows[i]
		entries[i] = p.entry(p.before(), map[string]any{"state": "waiting", "epoch": p.epoch + 1})
		step.Done = append(step.Done, deadletter.Moved{N: p.n, Consumer: p.consumer, ID: p.id, Key: p.key})
	}
	return entries, nil
}

// ownLines makes lines for messages that have neither a line nor a key. Such lines are all alike, so it does not matter
// which message gets which.
func (d *DeadLetters) ownLines(ctx context.Context, tx sqltx.Tx, rows []parkedRow) error {
	free := map[string][]int64{}
	var ns []int64
	for i := range rows {
		if p := &rows[i]; p.line == 0 && p.key == "" {
			free[p.consumer] = append(free[p.consumer], p.n)
			ns = append(ns, p.n)
		}
	}
	if len(ns) == 0 {
		return nil
	}
	q := d.sql()
	if q.my {
		return d.myOwnLines(ctx, tx, rows)
	}
	var ids, to []int64
	err := q.each(ctx, tx, "INSERT INTO {{line}} (consumer, key, due, size) SELECT p.consumer, NULL, "+q.instant()+", 1 FROM {{parked}} p WHERE p.n "+q.list(ns)+" ORDER BY p.n RETURNING id, consumer",
		func(r sqltx.Rows) error {
			var id int64
			var consumer string
			if err := r.Scan(&id, &consumer); err != nil {
				return err
			}
			ids, to = append(ids, id), append(to, free[consumer][0])
			free[consumer] = free[consumer][1:]
			return nil
		})
	if err != nil {
		return err
	}
	q = d.sql()
	_, err = q.exec(ctx, tx, "UPDATE {{parked}} AS p SET line = u.a FROM "+q.pairs(ids, to)+" WHERE p.n = u.b")
	return err
}

// outboxPart is how many rows of a relay are in memory at once.
const outboxPart = 50

// toOutbox appends messages of a relay to the outbox once more, with the next epoch, and removes them here.
func (d *DeadLetters) toOutbox(ctx context.Context, tx sqltx.Tx, rows []parkedRow, find bool, step *deadletter.Step) (entries []auditEntry, err error) {
	for len(rows) > 0 {
		part := rows[:min(outboxPart, len(rows))]
		rows = rows[len(part):]
		whole, err := d.lock(ctx, tx, numbers(part), true)
		if err != nil {
			return nil, err
		}
		var out []outbox.Row
		var gone []parkedRow
		for i := range whole {
			p := &whole[i]
			row, epoch, err := outboxRow(p)
			if err != nil {
				step.Skipped = append(step.Skipped, deadletter.Skip{N: p.n, Why: "its attributes cannot be read; edit it before: " + err.Error()})
				continue
			}
			out, gone = append(out, row), append(gone, *p)
			after := map[string]any{"state": "outbox", "relay": true, "epoch": epoch}
			moved := deadletter.Moved{N: p.n, Relay: true, Consumer: p.consumer, ID: p.id, Key: p.key}
			if find {
				if moved.Seq, err = d.appendOne(ctx, tx, row); err != nil {
					return nil, err
				}
				after["seq"] = moved.Seq
			}
			entries, step.Done = append(entries, p.entry(p.before(), after)), append(step.Done, moved)
		}
		if !find {
			if _, _, err := d.s.outbox.writer.Append(ctx, tx, outbox.ToBroker, out, false); err != nil {
				return nil, err
			}
		}
		if err := d.leave(ctx, tx, gone); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// appendOne appends a row and answers its seq.
func (d *DeadLetters) appendOne(ctx context.Context, tx sqltx.Tx, row outbox.Row) (seq int64, err error) {
	highest := int64(0)
	q := d.sql()
	if err := q.each(ctx, tx, "SELECT coalesce(max(seq), 0) FROM {{outbox}}", func(r sqltx.Rows) error { return r.Scan(&highest) }); err != nil {
		return 0, err
	}
	if _, _, err := d.s.outbox.writer.Append(ctx, tx, outbox.ToBroker, []outbox.Row{row}, false); err != nil {
		return 0, err
	}
	q = d.sql()
	err = q.each(ctx, tx, "SELECT max(seq) FROM {{outbox}} WHERE seq > "+q.arg(highest)+" AND id = "+q.arg(row.ID)+"{{uuid}}", func(r sqltx.Rows) error { return r.Scan(&seq) })
	return seq, err
}

// outboxRow makes a row of a message that a relay gave up. Attributes that this version does not know are kept.
func outboxRow(p *parkedRow) (row outbox.Row, epoch int, err error) {
	var attrs map[string]json.RawMessage
	if err := json.Unmarshal(p.attrs, &attrs); err != nil {
		return row, 0, err
	}
	if before, ok := attrs["epoch"]; ok {
		if err := json.Unmarshal(before, &epoch); err != nil {
			return row, 0, fmt.Errorf("epoch: %w", err)
		}
	}
	epoch = max(epoch, p.epoch, 0) + 1
	attrs["epoch"] = fmt.Append(nil, epoch)
	text, err := json.Marshal(attrs)
	if err != nil {
		return row, 0, err
	}
	row = outbox.Row{Partition: outbox.PartitionOf(p.key), ID: p.id, Class: p.consumer, Topic: p.topic, Key: p.key, Attrs: text, Body: p.body}
	if p.key == "" { // nothing orders it
		row.Partition = int16(p.n % outbox.Partitions)
	}
	return row, epoch, nil
}
