package store

import (
	"context"
	"slices"
	"strconv"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// How a gap closes on InnoDB. A number is drawn a moment before its row is inserted, and the row can be seen once its
// transaction has committed. Before it draws, a writer locks a slot of the gate in share mode, and keeps that until it
// has ended; InnoDB gives locks back after what was committed can be read. So whoever may fill a gap that was noticed
// holds a slot at the first check after it, or has ended and is found by the look-up that follows. A check names the slots
// that cannot be locked exclusively; a slot that was free once since the first check holds none of those any more.
//
// XA PREPARE gives shared locks back (MariaDB from 10.6 on, and every server when it restarts) and keeps exclusive ones, so
// the slot of a prepared transaction is free while its rows are not there yet. It has inserted them before it was
// prepared: a lock on a row within a gap keeps all gaps open.

// prepared stands for transactions that hold rows in gaps. Its first letter says that it may be any opener (outbox.Queue).
const prepared = "-prepared"

// Writers implements outbox.Queue. It locks the gate's free slots for as long as the statement takes; who wants to write
// meanwhile waits for that.
func (q *myQueue) Writers(ctx context.Context) ([]string, error) {
	var free [gateSlots]bool
	first := int(q.table) * gateSlots
	err := q.free.rows(ctx, q.db, func(r sqltx.Rows) error {
		var slot int
		err := r.Scan(&slot)
		if slot -= first; err == nil && slot >= 0 && slot < gateSlots {
			free[slot] = true
		}
		return err
	})
	if err != nil {
		return nil, failed("list writers of "+q.name, err)
	}
	open := []string{} // not nil: nil means that gaps never fill
	for slot, ok := range free {
		if !ok {
			open = append(open, strconv.Itoa(slot))
		}
	}
	switch held, err := q.held(ctx, q.remembered()); {
	case err != nil:
		return nil, failed("list writers of "+q.name, err)
	case held:
		open = append(open, prepared)
	}
	return open, nil
}

// held reports whether a row in one of the ranges is locked.
func (q *myQueue) held(ctx context.Context, ranges []outbox.Range) (bool, error) {
	for part := range slices.Chunk(ranges, rangesAtMost) {
		err := q.db.EachRow(ctx, q.probe+inRanges(part)+" FOR UPDATE NOWAIT", nil, func(sqltx.Rows) error { return nil })
		if myBusy(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// rangesAtMost is how many ranges one statement is given.
const rangesAtMost = 1000

// LookUp implements outbox.Queue. Where there are too many ranges for one statement the last ones are looked up first: a
// row of a key that is found there had to wait for what came before it, and that is found then. A full result comes
// without what lies behind its last row, so it closes no gap there.
func (q *myQueue) LookUp(ctx context.Context, missing []outbox.Range, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	if len(missing) == 0 || limit <= 0 {
		q.remember(own.Class, missing)
		return nil, nil
	}
	var all []outbox.Row
	for to := len(missing); to > 0; to -= rangesAtMost {
		s := myStatementOf(q.names, q.columns+inRanges(missing[max(0, to-rangesAtMost):to])+" ORDER BY seq LIMIT ?3")
		in := rowScan{limit: limit, tellsNull: true}
		if err := s.rows(ctx, q.db, in.into(own.Class), own.Class, mask(&own), limit); err != nil {
			return nil, failed("look up "+q.name, err)
		}
		all = append(in.rows, all...)
		all = all[:min(len(all), limit)]
	}
	q.remember(own.Class, leftOf(missing, all))
	return all, nil
}

// leftOf is what of ranges is still missing. A row that was found is locked by who handles it next, and no gap any more.
func leftOf(ranges []outbox.Range, found []outbox.Row) (left []outbox.Range) {
	for _, r := range ranges {
		for len(found) > 0 && found[0].Seq <= r.To {
			if seq := found[0].Seq; seq >= r.From {
				if seq > r.From {
					left = append(left, outbox.Range{From: r.From, To: seq - 1})
				}
				r.From = seq + 1
			}
			found = found[1:]
		}
		if r.From <= r.To {
			left = append(left, r)
		}
	}
	return left
}

// inRanges is the condition that seq is in one of the ranges. Numbers are written out: no library's quoting is needed for
// them, and thousands of parameters would be slow.
func inRanges(ranges []outbox.Range) string {
	var singles, wide []byte
	for _, r := range ranges {
		switch {
		case r.To < r.From:
		case r.To == r.From:
			if len(singles) > 0 {
				singles = append(singles, ", "...)
			}
			singles = strconv.AppendInt(singles, r.From, 10)
		default:
			wide = append(strconv.AppendInt(append(wide, " OR seq BETWEEN "...), r.From, 10), " AND "...)
			wide = strconv.AppendInt(wide, r.To, 10)
		}
	}
	if len(singles) == 0 {
		singles = append(singles, "NULL"...)
	}
	return "(seq IN (" + string(singles) + ")" + string(wide) + ")"
}
