package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// liteLeases implements outbox.Leases.
type liteLeases struct {
	*lite
	insertNode, insertLeases, beat, count        string
	dead, free, alive, other, orphans, take      string
	giveBack, leaveNode, leaveLeases, suspectsOf string
	countSuspects                                [2]string
}

func newLiteLeases(l *lite) *liteLeases {
	fill := l.names.fill
	count := func(t outbox.Table) string {
		return fill("UPDATE {{" + t.String() + "}} SET attempts = min(attempts + 1, 32767) WHERE class = ?1 AND partition = ?2 AND seq <= ?3")
	}
	return &liteLeases{lite: l,
		insertNode: fill("INSERT INTO {{node}} (class, id, until) VALUES (?1, ?2, ?3)"),
		insertLeases: fill(`INSERT OR IGNORE INTO {{lease}} (class, partition)
WITH RECURSIVE p(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM p WHERE n < 63) SELECT ?1, n FROM p`),
		beat: fill("UPDATE {{node}} SET until = ?3, mark = CASE WHEN ?4 = 0 THEN mark ELSE ?4 END WHERE class = ?1 AND id = ?2"),
		count: fill(`SELECT (SELECT count(*) FROM {{node}} WHERE class = ?1 AND (until >= ?2 OR id = ?3)),
  (SELECT count(*) FROM {{lease}} l WHERE class = ?1 AND NOT EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = l.node AND (n.until >= ?2 OR n.id = ?3)))`),
		dead:          fill("DELETE FROM {{node}} WHERE class = ?1 AND until < ?2 AND id <> ?3 RETURNING id, mark"),
		free:          fill("UPDATE {{lease}} SET node = NULL, suspect = max(suspect, ?3) WHERE class = ?1 AND node = ?2"),
		orphans:       fill("UPDATE {{lease}} SET node = NULL WHERE class = ?1 AND node IS NOT NULL AND node NOT IN (SELECT id FROM {{node}})"),
		alive:         fill("SELECT 1 FROM {{node}} WHERE class = ?1 AND id = ?2"),
		other:         fill("SELECT 1 FROM {{lease}} WHERE class = ?1 AND local <> ?2 AND node IS NOT NULL"),
		suspectsOf:    fill("SELECT partition, epoch + 1, suspect FROM {{lease}} WHERE class = ?1 AND node IS NULL ORDER BY partition LIMIT ?2"),
		take:          fill("UPDATE {{lease}} SET node = ?2, epoch = epoch + 1, suspect = 0, local = ?4 WHERE class = ?1 AND partition = ?3"),
		giveBack:      fill("UPDATE {{lease}} SET node = NULL, suspect = 0 WHERE class = ?1 AND node = ?2 AND partition IN (SELECT value FROM json_each(?3))"),
		leaveNode:     fill("DELETE FROM {{node}} WHERE class = ?1 AND id = ?2"),
		leaveLeases:   fill("UPDATE {{lease}} SET node = NULL, suspect = 0 WHERE class = ?1 AND node = ?2"),
		countSuspects: [2]string{count(outbox.ToBroker), count(outbox.ToLocal)},
	}
}

// Join implements outbox.Leases. A node id that was used before is an error.
func (l *liteLeases) Join(ctx context.Context, class, node string, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("store: join %s: a lease of %v; give a positive duration", quoteCut(class), ttl)
	}
	return failed("join "+quoteCut(class), l.db.InTx(ctx, func(tx sqltx.Tx) error {
		if _, err := tx.Exec(ctx, l.insertNode, class, node, l.now()+ttl.Microseconds()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, l.insertLeases, class)
		return err
	}))
}

// Beat implements outbox.Leases.
func (l *liteLeases) Beat(ctx context.Context, class, node string, ttl time.Duration, mark int64) (nodes, free int, err error) {
	n, err := l.db.ExecSQL(ctx, l.beat, class, node, l.now()+ttl.Microseconds(), mark)
	if err == nil && n == 0 {
		return 0, 0, outbox.ErrFenced
	}
	if err == nil {
		err = l.db.EachRow(ctx, l.count, []any{class, l.now(), node}, func(r sqltx.Rows) error { return r.Scan(&nodes, &free) })
	}
	if err != nil {
		return 0, 0, failed("beat "+quoteCut(class), err)
	}
	return nodes, free, nil
}

// Take implements outbox.Leases. The leases come in order of partition.
func (l *liteLeases) Take(ctx context.Context, class, node string, n int, t outbox.Table, countSuspects bool) (taken []outbox.Lease, err error) {
	err = l.db.InTx(ctx, func(tx sqltx.Tx) error {
		taken, err = l.takeIn(ctx, tx, class, node, n, t, countSuspects)
		return err
	})
	switch {
	case errors.Is(err, outbox.ErrFenced):
		return nil, outbox.ErrFenced
	case errors.Is(err, errOtherTable):
		return nil, errTwoTables(class)
	case err != nil:
		return nil, failed("take leases of "+quoteCut(class), err)
	}
	return taken, nil
}

var errOtherTable = errors.New("the class's owners read the other table")

func (l *liteLeases) takeIn(ctx context.Context, tx sqltx.Tx, class, node string, n int, t outbox.Table, countSuspects bool) (taken []outbox.Lease, err error) {
	if err := l.bury(ctx, tx, class, node); err != nil {
		return nil, err
	}
	if alive, err := exists(ctx, tx, l.alive, class, node); err != nil {
		return nil, err
	} else if !alive {
		return nil, outbox.ErrFenced
	}
	local := boolInt(t == outbox.ToLocal)
	if other, err := exists(ctx, tx, l.other, class, local); err != nil {
		return nil, err
	} else if other {
		return nil, errOtherTable
	}
	err = tx.Each(ctx, l.suspectsOf, []any{class, n}, func(r sqltx.Rows) error {
		var one outbox.Lease
		if err := r.Scan(&one.Partition, &one.Epoch, &one.Suspect); err != nil {
			return err
		}
		taken = append(taken, one)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, one := range taken {
		if _, err := tx.Exec(ctx, l.take, class, node, one.Partition, local); err != nil {
			return nil, err
		}
		if !countSuspects || one.Suspect == 0 {
			continue
		}
		if _, err := tx.Exec(ctx, l.countSuspects[t], class, one.Partition, one.Suspect); err != nil {
			return nil, err
		}
	}
	return taken, nil
}

// bury removes the class's dead nodes and frees their leases. It writes first, so that it has the write lock before it
// reads.
func (l *liteLeases) bury(ctx context.Context, tx sqltx.Tx, class, node string) error {
	type deadNode struct {
		id   string
		mark int64
	}
	var dead []deadNode
	err := tx.Each(ctx, l.dead, []any{class, l.now(), node}, func(r sqltx.Rows) error {
		var d deadNode
		if err := r.Scan(&d.id, &d.mark); err != nil {
			return err
		}
		dead = append(dead, d)
		return nil
	})
	if err != nil {
		return err
	}
	for _, d := range dead {
		if _, err := tx.Exec(ctx, l.free, class, d.id, d.mark); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, l.orphans, class)
	return err
}

// GiveBack implements outbox.Leases.
func (l *liteLeases) GiveBack(ctx context.Context, class, node string, partitions []int16) error {
	if len(partitions) == 0 {
		return nil
	}
	ps := make([]int64, len(partitions))
	for i, p := range partitions {
		ps[i] = int64(p)
	}
	_, err := l.db.ExecSQL(ctx, l.giveBack, class, node, jsonInts(ps))
	return failed("give back leases of "+quoteCut(class), err)
}

// Leave implements outbox.Leases.
func (l *liteLeases) Leave(ctx context.Context, class, node string) error {
	return failed("leave "+quoteCut(class), l.db.InTx(ctx, func(tx sqltx.Tx) error {
		if n, err := tx.Exec(ctx, l.leaveNode, class, node); err != nil || n == 0 {
			return err
		}
		_, err := tx.Exec(ctx, l.leaveLeases, class, node)
		return err
	}))
}
