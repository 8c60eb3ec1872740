package store

import (
	"context"
	"slices"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// liteQueue implements outbox.Queue.
type liteQueue struct {
	*lite
	name                  string
	local                 int64
	read, move, del, node string
	grave, bury           string
}

func newLiteQueue(l *lite, t outbox.Table) *liteQueue {
	// The node is looked at in the statement that deletes: a take-over removes its row first.
	which := "seq IN (SELECT value FROM json_each(?1)) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = ?2)"
	fill := func(sql string) string { return l.names.fill(sql) }
	name := t.String()
	return &liteQueue{lite: l, name: name, local: boolInt(t == outbox.ToLocal),
		read: fill(`SELECT seq, partition, attempts, CASE WHEN mine THEN id ELSE '' END, topic, coalesce(key, ''), CASE WHEN mine THEN attrs END, CASE WHEN mine THEN body END, body IS NULL
FROM (SELECT *, class = ?3 AND (?4 >> partition) & 1 AS mine FROM {{` + name + `}} WHERE seq > ?1 ORDER BY seq LIMIT ?2) ORDER BY seq`),
		move: fill(`INSERT INTO {{delivered}} (local, seq, partition, attempts, id, class, topic, key, attrs, body, created_at, delivered_at)
SELECT ?3, seq, partition, attempts, id, class, topic, key, attrs, body, created_at, ?4 FROM {{` + name + `}} WHERE ` + which),
		del: fill("DELETE FROM {{" + name + "}} WHERE " + which +
			" RETURNING seq, EXISTS (SELECT 1 FROM {{line}} l WHERE l.consumer = class AND l.key = {{bare " + name + "}}.key)"),
		node:  fill("SELECT 1 FROM {{node}} WHERE id = ?1"),
		grave: fill("DELETE FROM {{outbox}} WHERE seq = ?1 RETURNING class, topic, key, attrs, body, created_at, body IS NULL"),
		bury: fill(`INSERT INTO {{parked}} (state, relay, consumer, message, digest, id, source, type, topic, key, attrs, body, attempts, reason, error, node, first_at, last_at)
VALUES (2, 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)`),
	}
}

// Read implements outbox.Queue.
func (q *liteQueue) Read(ctx context.Context, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	in := rowScan{limit: limit, tellsNull: true}
	err := q.db.EachRow(ctx, q.read, []any{after, limit, own.Class, mask(&own)}, in.into(own.Class))
	if err != nil {
		return nil, failed("read "+q.name, err)
	}
	return in.rows, nil
}

// LookUp implements outbox.Queue. With one writer at a time a gap never fills.
func (q *liteQueue) LookUp(context.Context, []outbox.Range, int, outbox.Ownership) ([]outbox.Row, error) {
	return nil, nil
}

// Writers implements outbox.Queue.
func (q *liteQueue) Writers(context.Context) ([]string, error) { return nil, nil }

// Settle implements outbox.Queue.
func (q *liteQueue) Settle(ctx context.Context, node string, seqs []int64) (n int, err error) {
	if len(seqs) == 0 {
		return 0, nil
	}
	err = q.db.InTx(ctx, func(tx sqltx.Tx) error {
		there, _, err := q.Claim(ctx, tx, node, seqs)
		n = len(there)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Claim implements outbox.Queue.
func (q *liteQueue) Claim(ctx context.Context, tx sqltx.Tx, node string, seqs []int64) (there, behind []int64, err error) {
	list := jsonInts(seqs)
	if q.keep > 0 {
		if _, err := tx.Exec(ctx, q.move, list, node, q.local, q.now()); err != nil {
			return nil, nil, failed("claim "+q.name, err)
		}
	}
	there = make([]int64, 0, len(seqs))
	if err := tx.Each(ctx, q.del, []any{list, node}, scanClaimed(&there, &behind)); err != nil {
		return nil, nil, failed("claim "+q.name, err)
	}
	if len(there) == 0 {
		if alive, err := exists(ctx, tx, q.node, node); err != nil {
			return nil, nil, failed("claim "+q.name, err)
		} else if !alive {
			return nil, nil, outbox.ErrFenced
		}
	}
	slices.Sort(there) // RETURNING promises no order
	slices.Sort(behind)
	return there, behind, nil
}

func exists(ctx context.Context, tx sqltx.Tx, q string, args ...any) (found bool, err error) {
	err = tx.Each(ctx, q, args, func(sqltx.Rows) error {
		found = true
		return nil
	})
	return found, err
}

// Bury implements outbox.Queue.
func (q *liteQueue) Bury(ctx context.Context, node string, dead []outbox.DeadRow) (n int, err error) {
	if q.local == 1 {
		return 0, errNotBuried
	}
	err = q.db.InTx(ctx, func(tx sqltx.Tx) error {
		if alive, err := exists(ctx, tx, q.node, node); err != nil {
			return failed("bury rows of "+q.name, err)
		} else if !alive {
			return outbox.ErrFenced
		}
		for i := range dead {
			found, err := q.buryOne(ctx, tx, &dead[i])
			if err != nil {
				return failed("bury rows of "+q.name, err)
			}
			n += found
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (q *liteQueue) buryOne(ctx context.Context, tx sqltx.Tx, d *outbox.DeadRow) (int, error) {
	var class, topic string
	var key *string
	var attrs, body []byte
	var created int64
	found, null := 0, false
	err := tx.Each(ctx, q.grave, []any{d.Seq}, func(r sqltx.Rows) error {
		found = 1
		return r.Scan(&class, &topic, &key, &attrs, &body, &created, &null)
	})
	if err != nil || found == 0 {
		return 0, err
	}
	rec := inbox.RecordOf(&sixfold.Envelope{Source: d.Source, ID: d.ID, Type: d.Type, Body: body})
	var kept any
	if !null {
		kept = append([]byte{}, body...)
	}
	_, err = tx.Exec(ctx, q.bury, class, rec.Message[:], rec.Digest[:], plain(d.ID), plain(d.Source), plain(d.Type), topic, key, attrs, kept, d.Attempts,
		plain(d.Reason), plain(d.Error), plain(d.Node), created, q.now())
	return found, err
}
