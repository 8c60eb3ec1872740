package store

import (
	"context"
	"slices"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// singlesAtMost is how many missing seqs are looked up one by one; more, and ranges, are looked up range by range.
const singlesAtMost = 5000

// pgQueue implements outbox.Queue.
type pgQueue struct {
	db                                   sqltx.Runner
	name                                 string
	keep                                 bool
	read, lookUp, writers, settle, claim string
	bury                                 string // empty: rows of this table are not buried
}

func newPgQueue(s *Store, t outbox.Table) *pgQueue {
	name := t.String()
	q := &pgQueue{
		db:     s.db,
		name:   name,
		keep:   s.keep > 0,
		read:   s.names.fill("SELECT * FROM {{" + name + "_read}}($1::bigint, $2::integer, $3::text, $4::bigint)"),
		lookUp: s.names.fill("SELECT * FROM {{" + name + "_look_up}}($1::text::bigint[], $2::text::bigint[], $3::text::bigint[], $4::integer, $5::text, $6::bigint)"),
		// Whoever may still fill a gap holds this lock from before its nextval until its commit is visible.
		writers: s.names.fill("SELECT DISTINCT virtualtransaction FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND relation = {{literal " + name + "}}::regclass" +
			" AND granted AND mode = 'RowExclusiveLock' AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"),
		settle: s.names.fill("SELECT {{" + name + "_settle}}($1::text::uuid, $2::text::bigint[], $3::boolean)"),
		claim:  s.names.fill("SELECT * FROM {{" + name + "_claim}}($1::text::uuid, $2::text::bigint[], $3::boolean)"),
	}
	if t == outbox.ToBroker {
		q.bury = s.names.fill("SELECT {{outbox_bury}}($1::text::uuid, $2::text::bigint[], $3::bytea, $4::text::text[], $5::text::text[], $6::text::text[], " +
			"$7::text::text[], $8::text::text[], $9::text::text[], $10::text::integer[])")
	}
	return q
}

// Read implements outbox.Queue. Its memory is limit rows of at most 16 MB; ask for fewer where bodies are large.
func (q *pgQueue) Read(ctx context.Context, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	in := rowScan{limit: limit}
	err := q.db.EachRow(ctx, q.read, []any{after, limit, own.Class, mask(&own)}, in.into(own.Class))
	if err != nil {
		return nil, failed("read "+q.name, err)
	}
	return in.rows, nil
}

// LookUp implements outbox.Queue. A full result comes without what lies behind its last row, so it closes no gap there.
func (q *pgQueue) LookUp(ctx context.Context, missing []outbox.Range, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	if len(missing) == 0 || limit <= 0 {
		return nil, nil
	}
	var singles, froms, tos any
	if n := countUpTo(missing, singlesAtMost); n <= singlesAtMost {
		w := newArray(8 * n)
		for _, r := range missing {
			for i := range r.To - r.From + 1 { // never past r.To, which may be the highest number there is
				w.int(r.From + i)
			}
		}
		singles = w.String()
	} else {
		f, t := newArray(8*len(missing)), newArray(8*len(missing))
		for _, r := range missing {
			f.int(r.From)
			t.int(r.To)
		}
		froms, tos = f.String(), t.String()
	}
	in := rowScan{limit: limit}
	err := q.db.EachRow(ctx, q.lookUp, []any{singles, froms, tos, limit, own.Class, mask(&own)}, in.into(own.Class))
	if err != nil {
		return nil, failed("look up "+q.name, err)
	}
	return in.rows, nil
}

// countUpTo is the number of seqs in rs, or limit+1 when there are more.
func countUpTo(rs []outbox.Range, limit int) int {
	n := 0
	for _, r := range rs {
		if r.To < r.From {
			continue
		}
		if size := uint64(r.To) - uint64(r.From); size >= uint64(limit+1-n) {
			return limit + 1
		} else {
			n += int(size) + 1
		}
	}
	return n
}

// Writers implements outbox.Queue.
func (q *pgQueue) Writers(ctx context.Context) ([]string, error) {
	open := []string{} // not nil: nil means that gaps never fill
	var vxid string
	dest := []any{&vxid}
	err := q.db.EachRow(ctx, q.writers, nil, func(rows sqltx.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		open = append(open, vxid)
		return nil
	})
	if err != nil {
		return nil, failed("list writers of "+q.name, err)
	}
	return open, nil
}

// Settle implements outbox.Queue.
func (q *pgQueue) Settle(ctx context.Context, node string, seqs []int64) (int, error) {
	n := 0
	err := q.db.EachRow(ctx, q.settle, []any{node, intArray(seqs), q.keep}, func(rows sqltx.Rows) error { return rows.Scan(&n) })
	if err != nil {
		return 0, failed("settle "+q.name, err)
	}
	if n < 0 {
		return 0, outbox.ErrFenced
	}
	return n, nil
}

// Claim implements outbox.Queue.
//
// The node row is looked at, not locked: the deleted row itself decides between an owner and its successor, whoever
// comes second waits and finds nothing, and a statement that waited cannot see a row that took the same seq later. A
// lock held through the handler would stop the node's heartbeat, or its take-over while a dead host's connection lingers.
func (q *pgQueue) Claim(ctx context.Context, tx sqltx.Tx, node string, seqs []int64) (there, behind []int64, err error) {
	there = make([]int64, 0, len(seqs))
	err = tx.Each(ctx, q.claim, []any{node, intArray(seqs), q.keep}, scanClaimed(&there, &behind))
	if err != nil {
		return nil, nil, failed("claim "+q.name, err)
	}
	if len(there) == 1 && there[0] < 0 {
		return nil, nil, outbox.ErrFenced
	}
	slices.Sort(there) // RETURNING promises no order
	slices.Sort(behind)
	return there, behind, nil
}

// Bury implements outbox.Queue.
func (q *pgQueue) Bury(ctx context.Context, node string, dead []outbox.DeadRow) (int, error) {
	if q.bury == "" {
		return 0, errNotBuried
	}
	size := len(dead)
	seqs, names, sources, types := newArray(12*size), newArray(39*size), newArray(24*size), newArray(24*size)
	reasons, errs, nodes, attempts := newArray(12*size), newArray(64*size), newArray(24*size), newArray(3*size)
	messages := make([]byte, 0, 16*size)
	for i := range dead {
		d := &dead[i]
		m := messageOf(d)
		messages = append(messages, m[:]...)
		seqs.int(d.Seq)
		names.text(plain(d.ID))
		sources.text(plain(d.Source))
		types.text(plain(d.Type))
		reasons.text(plain(d.Reason))
		errs.text(plain(d.Error))
		nodes.text(plain(d.Node))
		attempts.int(int64(d.Attempts))
	}
	n := 0
	err := q.db.EachRow(ctx, q.bury, []any{node, seqs.String(), messages, names.String(), sources.String(), types.String(), reasons.String(), errs.String(), nodes.String(), attempts.String()},
		func(rows sqltx.Rows) error { return rows.Scan(&n) })
	switch {
	case err != nil:
		return 0, failed("bury rows of "+q.name, err)
	case n < 0:
		return 0, outbox.ErrFenced
	}
	return n, nil
}
