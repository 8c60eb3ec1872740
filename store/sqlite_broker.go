package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// copyGoneFor is how long a copy's process must have been gone before the copy goes too.
const copyGoneFor = time.Minute

// liteBroker implements brokerTables. There is one writer at a time, so that rows become visible in their order.
type liteBroker struct {
	*lite
	keeper                                           *liteKeeper
	leases                                           *liteLeases
	insert                                           [len(liteSizes)]string
	wanting, enter, enterAgain, forget, fromKept     string
	leave, keepFor, keepNew, readRows, remove, alive string
	suspects, list, clear, toPurge, deleteUpTo       string
	dropNodes, dropLeases, goneCopies, byName        string
	unmark                                           string
}

func newLiteBroker(l *lite, s *Store) *liteBroker {
	fill := l.names.fill
	b := &liteBroker{lite: l, keeper: newLiteKeeper(l, &s.migrations), leases: newLiteLeases(l),
		wanting:    fill("SELECT id FROM {{queue_group}} WHERE topic = ?1 AND leaving = 0"),
		byName:     fill("SELECT id FROM {{queue_group}} WHERE topic = ?1 AND kind = ?2 AND name = ?3 AND leaving = 0"),
		enter:      fill("INSERT INTO {{queue_group}} (topic, name, kind, made_at) VALUES (?1, ?2, ?3, ?4) RETURNING id"),
		forget:     fill("DELETE FROM {{queue_group}} WHERE id = ?1"),
		enterAgain: fill("INSERT INTO {{queue_group}} (id, topic, name, kind, made_at) VALUES (?1, ?2, ?3, ?4, ?5)"),
		fromKept: fill(`INSERT INTO {{queue}} (class, partition, id, key, attrs, body, created_at)
SELECT ?1, q.partition, q.id, q.key, q.attrs, q.body, q.created_at FROM {{queue_group}} g JOIN {{queue}} q ON q.class = g.id
WHERE g.topic = ?2 AND g.kind = 3 AND g.leaving = 0 AND q.created_at >= ?3 - g.keep ORDER BY q.seq`),
		leave:   fill("UPDATE {{queue_group}} SET leaving = 1 WHERE topic = ?1 AND name = ?2 AND kind = ?3 AND leaving = 0"),
		keepFor: fill("UPDATE {{queue_group}} SET keep = ?2 WHERE topic = ?1 AND kind = 3 AND leaving = 0"),
		keepNew: fill("INSERT INTO {{queue_group}} (topic, name, kind, keep, made_at) VALUES (?1, '', 3, ?2, ?3)"),
		readRows: fill(`SELECT seq, partition, attempts, CASE WHEN mine THEN id ELSE '' END, '', coalesce(key, ''), CASE WHEN mine THEN attrs END, CASE WHEN mine THEN body END, body IS NULL
FROM (SELECT *, (?4 >> partition) & 1 AS mine FROM {{queue}} WHERE class = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2) ORDER BY seq`),
		remove:     fill("DELETE FROM {{queue}} WHERE class = ?1 AND seq IN (SELECT value FROM json_each(?2)) AND EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = ?3)"),
		alive:      fill("SELECT 1 FROM {{node}} WHERE id = ?1"),
		suspects:   fill("UPDATE {{queue}} SET attempts = min(attempts + 1, 32767) WHERE class = ?1 AND partition = ?2 AND seq <= ?3"),
		unmark:     fill("UPDATE {{lease}} SET local = NULL WHERE class = ?1 AND node = ?2"),
		clear:      fill("DELETE FROM {{queue}} WHERE seq IN (SELECT seq FROM {{queue}} WHERE class = ?1 ORDER BY seq LIMIT ?2)"),
		toPurge:    fill("SELECT id, leaving, keep FROM {{queue_group}} WHERE leaving = 1 OR kind = 3 ORDER BY id"),
		deleteUpTo: fill("DELETE FROM {{queue}} WHERE seq IN (SELECT seq FROM (SELECT seq, created_at FROM {{queue}} WHERE class = ?1 ORDER BY seq LIMIT ?2) WHERE created_at < ?3)"),
		dropNodes:  fill("DELETE FROM {{node}} WHERE class = ?1"),
		dropLeases: fill("DELETE FROM {{lease}} WHERE class = ?1"),
		goneCopies: fill(`UPDATE {{queue_group}} SET leaving = 1 WHERE kind = 2 AND leaving = 0 AND made_at < ?1
AND NOT EXISTS (SELECT 1 FROM {{node}} d WHERE d.class = 'queue/' || {{bare queue_group}}.id AND d.until >= ?1)`),
		list: fill(`SELECT g.id, g.topic, g.name, g.kind, g.leaving, g.keep, (SELECT count(*) FROM {{queue}} q WHERE q.class = g.id),
  coalesce((SELECT ?1 - min(q.created_at) FROM {{queue}} q WHERE q.class = g.id), 0), (SELECT count(*) FROM {{node}} d WHERE d.class = 'queue/' || g.id AND d.until >= ?1)
FROM {{queue_group}} g ORDER BY g.topic, g.kind, g.name, g.id`),
	}
	for i, n := range liteSizes {
		b.insert[i] = fill("INSERT INTO {{queue}} (class, partition, id, key, attrs, body, created_at) VALUES ") + strings.Repeat("(?, ?, ?, ?, ?, ?, ?), ", n-1) + "(?, ?, ?, ?, ?, ?, ?)"
	}
	return b
}

var errMissing = errors.New("somebody's topic is wanted by nobody")

func (b *liteBroker) send(ctx context.Context, rows []outbox.Row) (missing []string, err error) {
	if _, err := chunks(rows); err != nil || len(rows) == 0 {
		return nil, err
	}
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		missing = nil // the library may run this again
		groups := make(map[string][]int64)
		total := 0
		for i := range rows {
			topic := rows[i].Topic
			ids, known := groups[topic]
			if !known {
				if err := tx.Each(ctx, b.wanting, []any{topic}, scanInts(&ids)); err != nil {
					return err
				}
				groups[topic] = ids
				if len(ids) == 0 {
					missing = append(missing, topic)
				}
			}
			total += len(ids)
		}
		if len(missing) > 0 {
			return errMissing
		}
		args := make([]any, 0, 7*total)
		now := b.now()
		for i := range rows {
			for _, id := range groups[rows[i].Topic] {
				args = liteQueueArgs(args, id, &rows[i], now)
			}
		}
		for i, n := range liteSizes {
			for len(args) >= 7*n {
				if _, err := tx.Exec(ctx, b.insert[i], args[:7*n]...); err != nil {
					return err
				}
				args = args[7*n:]
			}
		}
		return nil
	})
	if errors.Is(err, errMissing) {
		return missing, nil
	}
	return nil, failed("send", err)
}

func liteQueueArgs(args []any, class int64, r *outbox.Row, now int64) []any {
	args = append(args, class, r.Partition, r.ID, orNil(r.Key))
	if r.Attrs == nil {
		args = append(args, []byte{})
	} else {
		args = append(args, r.Attrs)
	}
	if r.Body == nil {
		args = append(args, nil)
	} else {
		args = append(args, r.Body)
	}
	return append(args, now)
}

func (b *liteBroker) attach(ctx context.Context, topic, name string, kind int, fromKept bool, withID int64) (id int64, err error) {
	// Nearly always it is there, and looking costs no write lock.
	err = b.db.EachRow(ctx, b.byName, []any{topic, kind, name}, func(r sqltx.Rows) error { return r.Scan(&id) })
	if err != nil || id > 0 {
		return id, failed("attach to "+quoteCut(topic), err)
	}
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		var found []int64
		if err := tx.Each(ctx, b.byName, []any{topic, kind, name}, scanInts(&found)); err != nil {
			return err
		}
		switch {
		case len(found) > 0:
			id = found[0]
			return nil
		case withID > 0:
			id = withID
			if _, err := tx.Exec(ctx, b.forget, id); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, b.enterAgain, id, topic, name, kind, b.now())
			return err
		}
		if err := tx.Each(ctx, b.enter, []any{topic, name, kind, b.now()}, func(r sqltx.Rows) error { return r.Scan(&id) }); err != nil || !fromKept {
			return err
		}
		_, err := tx.Exec(ctx, b.fromKept, id, topic, b.now())
		return err
	})
	return id, failed("attach to "+quoteCut(topic), err)
}

func (b *liteBroker) detach(ctx context.Context, topic, name string, kind int) (bool, error) {
	n, err := b.db.ExecSQL(ctx, b.leave, topic, name, kind)
	return n > 0, failed("detach from "+quoteCut(topic), err)
}

func (b *liteBroker) keep(ctx context.Context, topic string, keep time.Duration) error {
	if keep == 0 {
		_, err := b.detach(ctx, topic, "", keptKind)
		return err
	}
	return failed("keep "+quoteCut(topic), b.db.InTx(ctx, func(tx sqltx.Tx) error {
		n, err := tx.Exec(ctx, b.keepFor, topic, keep.Microseconds())
		if err == nil && n == 0 {
			_, err = tx.Exec(ctx, b.keepNew, topic, keep.Microseconds(), b.now())
		}
		return err
	}))
}

func (b *liteBroker) read(ctx context.Context, class, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	in := rowScan{limit: limit, tellsNull: true}
	err := b.db.EachRow(ctx, b.readRows, []any{after, limit, class, mask(&own)}, in.into(own.Class))
	if err != nil {
		return nil, failed("read the queue", err)
	}
	return in.rows, nil
}

func (b *liteBroker) settle(ctx context.Context, class int64, node string, seqs []int64) (settled int, err error) {
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		n, err := tx.Exec(ctx, b.remove, class, jsonInts(seqs), node)
		settled = int(n)
		if err != nil || n > 0 {
			return err
		}
		if alive, err := exists(ctx, tx, b.alive, node); err != nil || alive {
			return err
		}
		settled = -1
		return nil
	})
	return settled, failed("settle in the queue", err)
}

func (b *liteBroker) take(ctx context.Context, class int64, leaseClass, node string, n int) (taken []outbox.Lease, err error) {
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		if taken, err = b.leases.takeIn(ctx, tx, leaseClass, node, n, outbox.ToLocal, false); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, b.unmark, leaseClass, node); err != nil { // they belong to none of the two tables
			return err
		}
		for _, one := range taken {
			if one.Suspect > 0 {
				if _, err := tx.Exec(ctx, b.suspects, class, one.Partition, one.Suspect); err != nil {
					return err
				}
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, outbox.ErrFenced):
		return nil, outbox.ErrFenced
	case err != nil:
		return nil, failed("take leases of "+leaseClass, err)
	}
	return taken, nil
}

func (b *liteBroker) groups(ctx context.Context) (all []BrokerGroup, err error) {
	err = b.db.EachRow(ctx, b.list, []any{b.now()}, func(r sqltx.Rows) error {
		g, err := scanGroup(r)
		all = append(all, g)
		return err
	})
	return all, failed("list the groups", err)
}

func (b *liteBroker) empty(ctx context.Context, class int64, limit int) (int, error) {
	n, err := b.db.ExecSQL(ctx, b.clear, class, limit)
	return int(n), failed("empty the queue", err)
}

// Purge removes what nobody needs, each group in a transaction of its own.
func (b *liteBroker) Purge(ctx context.Context, limit int) (most int, err error) {
	if _, err := b.db.ExecSQL(ctx, b.goneCopies, b.now()-copyGoneFor.Microseconds()); err != nil {
		return 0, failed("purge the queue", err)
	}
	type group struct {
		id, keep int64
		leaving  bool
	}
	var all []group
	err = b.db.EachRow(ctx, b.toPurge, nil, func(r sqltx.Rows) error {
		var g group
		err := r.Scan(&g.id, &g.leaving, &g.keep)
		all = append(all, g)
		return err
	})
	for i := 0; i < len(all) && err == nil; i++ {
		g := all[i]
		before := b.now() - g.keep
		if g.leaving {
			before = b.now() + 1<<60
		}
		err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
			n, err := tx.Exec(ctx, b.deleteUpTo, g.id, limit, before)
			most = max(most, int(n))
			if err != nil || !g.leaving || int(n) >= limit {
				return err
			}
			class := fmt.Sprintf("queue/%d", g.id)
			for _, q := range []string{b.dropNodes, b.dropLeases} {
				if _, err := tx.Exec(ctx, q, class); err != nil {
					return err
				}
			}
			_, err = tx.Exec(ctx, b.forget, g.id)
			return err
		})
	}
	return most, failed("purge the queue", err)
}

// Check looks at the library, the schema and the settings.
func (b *liteBroker) Check(ctx context.Context) (warnings []string, err error) {
	if err := (sqlite{}).begin(ctx, b.keeper.migrations.s); err != nil {
		return nil, err
	}
	if err := b.keeper.migrations.check(ctx); err != nil {
		return nil, err
	}
	return b.keeper.durability(ctx)
}
