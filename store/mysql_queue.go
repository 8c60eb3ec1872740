package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// myQueue implements outbox.Queue. Every statement names the primary key and its order of tables: with the statistics of an
// empty table the server would walk over all rows, and over all that were deleted and not purged yet.
type myQueue struct {
	*my
	table                            outbox.Table
	name                             string
	local                            int64
	read                             myStatement
	columns                          string // of a look-up, up to WHERE
	free                             myStatement
	probe                            string
	settle, lock, look, move, remove myStatement
	there                            myStatement // look without the lines, which who relays may not see
	node, hold, grave, bury          myStatement

	mu sync.Mutex
	// asked are the ranges that the last look-up of each class did not find. Writers looks for locks there.
	asked map[string][]outbox.Range
}

func newMyQueue(m *my, t outbox.Table) *myQueue {
	name := t.String()
	mine := func(class, mask string) string {
		return "(class = " + class + " AND (" + mask + " >> (partition & 63)) & 1 = 1)"
	}
	// Parameters 1 and 2 are class and partitions.
	columns := "SELECT seq, partition & 63, attempts, CASE WHEN MINE THEN id ELSE '' END, CASE WHEN MINE THEN topic ELSE '' END, CASE WHEN MINE THEN coalesce(key, '') ELSE '' END, " +
		"CASE WHEN MINE THEN attrs END, CASE WHEN MINE THEN body END, body IS NULL FROM {{" + name + "}} FORCE INDEX (PRIMARY) WHERE "
	columns = strings.ReplaceAll(columns, "MINE", mine("?1", "?2"))
	rows := "FROM " + myNumbers("?1") + " STRAIGHT_JOIN {{" + name + "}} o FORCE INDEX (PRIMARY) ON o.seq = j.n"
	first := int(t) * gateSlots
	q := &myQueue{my: m, table: t, name: name, local: boolInt(t == outbox.ToLocal), columns: columns, asked: map[string][]outbox.Range{},
		read: m.statement(columns + "seq > ?3 ORDER BY seq LIMIT ?4"),
		free: m.statement("SELECT slot FROM {{gate}} WHERE slot >= " + strconv.Itoa(first) + " AND slot < " + strconv.Itoa(first+gateSlots) + " FOR UPDATE SKIP LOCKED"),
		// The node is looked at in the statement that deletes: a take-over removes its row first.
		settle: m.statement("DELETE o " + rows + " WHERE EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = ?2)"),
		lock:   m.statement("SELECT o.seq " + rows + " ORDER BY o.seq FOR UPDATE"),
		look: m.statement("SELECT o.seq, EXISTS (SELECT 1 FROM {{line}} l WHERE l.consumer = o.class AND l.key = o.key) " + rows +
			" WHERE EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = ?2) ORDER BY o.seq"),
		there: m.statement("SELECT o.seq, 0 " + rows + " WHERE EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = ?2) ORDER BY o.seq"),
		move: m.statement("INSERT INTO {{delivered}} (local, seq, partition, attempts, id, class, topic, key, attrs, body, created_at) " +
			"SELECT ?2, o.seq, o.partition, o.attempts, o.id, o.class, o.topic, o.key, o.attrs, o.body, o.created_at " + rows + " ORDER BY o.seq"),
		remove: m.statement("DELETE o " + rows),
		node:   m.statement("SELECT 1 FROM {{node}} WHERE id = ?1"),
		hold:   m.statement("SELECT 1 FROM {{node}} WHERE id = ?1 FOR UPDATE"),
		grave:  m.statement("SELECT class, topic, key, attrs, body, created_at, body IS NULL FROM {{outbox}} WHERE seq = ?1 FOR UPDATE"),
		bury: m.statement(`INSERT INTO {{parked}} (state, relay, consumer, message, digest, id, source, type, topic, key, attrs, body, attempts, reason, error, node, first_at, last_at)
VALUES (2, 1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ` + myNow + `)`),
	}
	q.probe = myQuoted(m.names.fill("SELECT seq FROM {{" + name + "}} FORCE INDEX (PRIMARY) WHERE "))
	return q
}

// Read implements outbox.Queue. Its memory is limit rows of the size that max_allowed_packet allows; ask for fewer where
// bodies are large.
func (q *myQueue) Read(ctx context.Context, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	in := rowScan{limit: limit, tellsNull: true}
	if err := q.read.rows(ctx, q.db, in.into(own.Class), own.Class, mask(&own), after, limit); err != nil {
		return nil, failed("read "+q.name, err)
	}
	return in.rows, nil
}

// Settle implements outbox.Queue.
func (q *myQueue) Settle(ctx context.Context, node string, seqs []int64) (n int, err error) {
	if len(seqs) == 0 {
		return 0, nil
	}
	if q.keep == 0 {
		var deleted int64
		if deleted, err = q.settle.do(ctx, q.db, jsonInts(seqs), node); err == nil && deleted == 0 {
			alive := false
			err = q.node.rows(ctx, q.db, func(sqltx.Rows) error { alive = true; return nil }, node)
			if err == nil && !alive {
				return 0, outbox.ErrFenced
			}
		}
		return int(deleted), failed("settle "+q.name, err)
	}
	err = q.db.InTx(ctx, func(tx sqltx.Tx) error {
		there, _, err := q.claim(ctx, tx, node, seqs, q.there)
		n = len(there)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Claim implements outbox.Queue. The rows are locked first: who holds one, and parks a message of its key, has ended when
// the next statement looks for lines. The node row is looked at, not locked, or a long handler would stop its heartbeat.
func (q *myQueue) Claim(ctx context.Context, tx sqltx.Tx, node string, seqs []int64) (there, behind []int64, err error) {
	return q.claim(ctx, tx, node, seqs, q.look)
}

func (q *myQueue) claim(ctx context.Context, tx sqltx.Tx, node string, seqs []int64, look myStatement) (there, behind []int64, err error) {
	list := jsonInts(seqs)
	there = make([]int64, 0, len(seqs))
	err = q.lock.each(ctx, tx, scanInts(new([]int64)), list)
	if err == nil {
		err = look.each(ctx, tx, scanClaimed(&there, &behind), list, node)
	}
	if err == nil && len(there) == 0 {
		alive, err := q.node.found(ctx, tx, node)
		switch {
		case err != nil:
			return nil, nil, failed("claim "+q.name, err)
		case !alive:
			return nil, nil, outbox.ErrFenced
		}
		return there, nil, nil
	}
	if len(there) < len(seqs) {
		list = jsonInts(there)
	}
	if err == nil && q.keep > 0 {
		_, err = q.move.exec(ctx, tx, list, q.local)
	}
	if err == nil {
		_, err = q.remove.exec(ctx, tx, list)
	}
	if err != nil {
		return nil, nil, failed("claim "+q.name, err)
	}
	return there, behind, nil
}

// Bury implements outbox.Queue. The node row is held until the end, since a row that took the same seq later must not be
// buried.
func (q *myQueue) Bury(ctx context.Context, node string, dead []outbox.DeadRow) (n int, err error) {
	if q.local == 1 {
		return 0, errNotBuried
	}
	err = q.db.InTx(ctx, func(tx sqltx.Tx) error {
		n = 0
		if alive, err := q.hold.found(ctx, tx, node); err != nil {
			return failed("bury rows of "+q.name, err)
		} else if !alive {
			return outbox.ErrFenced
		}
		var seqs []int64
		for i := range dead {
			found, err := q.buryOne(ctx, tx, &dead[i])
			if err != nil {
				return failed("bury rows of "+q.name, err)
			}
			n += found
			seqs = append(seqs, dead[i].Seq)
		}
		_, err := q.remove.exec(ctx, tx, jsonInts(seqs))
		return failed("bury rows of "+q.name, err)
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (q *myQueue) buryOne(ctx context.Context, tx sqltx.Tx, d *outbox.DeadRow) (int, error) {
	var class, topic string
	var key *string
	var attrs, body []byte
	var created int64
	found, null := 0, false
	err := q.grave.each(ctx, tx, func(r sqltx.Rows) error {
		found = 1
		return r.Scan(&class, &topic, &key, &attrs, &body, &created, &null)
	}, d.Seq)
	if err != nil || found == 0 {
		return 0, err
	}
	rec := inbox.RecordOf(&sixfold.Envelope{Source: d.Source, ID: d.ID, Type: d.Type, Body: body})
	var kept any
	if !null {
		kept = append([]byte{}, body...)
	}
	_, err = q.bury.exec(ctx, tx, class, rec.Message[:], rec.Digest[:], plain(d.ID), plain(d.Source), plain(d.Type), topic, key, attrs, kept, d.Attempts,
		plain(d.Reason), plain(d.Error), plain(d.Node), created)
	return found, err
}

// remember keeps what a look-up did not find.
func (q *myQueue) remember(class string, missing []outbox.Range) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.asked[class] = append(q.asked[class][:0], missing...)
}

// remembered are the ranges that look-ups did not find, of all classes, apart and in ascending order.
func (q *myQueue) remembered() (all []outbox.Range) {
	q.mu.Lock()
	for _, rs := range q.asked {
		all = append(all, rs...)
	}
	classes := len(q.asked)
	q.mu.Unlock()
	if classes > 1 {
		slices.SortFunc(all, func(a, b outbox.Range) int { return int(min(1, max(-1, a.From-b.From))) })
	}
	return all
}
