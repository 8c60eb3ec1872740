package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// myLeases implements outbox.Leases.
type myLeases struct {
	*my
	insertNode, known, insertLeases, beat, count  myStatement
	alive, dead, bury, orphan, other, free, owned myStatement
	take, giveBack, leaveNode, leaveLeases        myStatement
	suspects, countSuspects                       [2]myStatement
}

func newMyLeases(m *my) *myLeases {
	s := m.statement
	l := &myLeases{my: m,
		insertNode:   s("INSERT INTO {{node}} (class, id, until) VALUES (?1, ?2, " + myNow + " + ?3)"),
		known:        s("SELECT count(*) FROM {{lease}} WHERE class = ?1"),
		insertLeases: s("INSERT INTO {{lease}} (class, partition) VALUES " + myPartitions() + " ON DUPLICATE KEY UPDATE epoch = epoch"),
		beat:         s("UPDATE {{node}} SET until = " + myNow + " + ?3, mark = CASE WHEN ?4 = 0 THEN mark ELSE ?4 END WHERE class = ?1 AND id = ?2"),
		count: s("SELECT (SELECT count(*) FROM {{node}} WHERE class = ?1 AND id = ?2), (SELECT count(*) FROM {{node}} WHERE class = ?1 AND (until >= " + myNow + " OR id = ?2)), " +
			"(SELECT count(*) FROM {{lease}} l WHERE l.class = ?1 AND NOT EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = l.node AND (n.until >= " + myNow + " OR n.id = ?2)))"),
		alive:  s("SELECT 1 FROM {{node}} WHERE class = ?1 AND id = ?2 FOR UPDATE"),
		dead:   s("SELECT id, mark FROM {{node}} WHERE class = ?1 AND until < " + myNow + " AND id <> ?2 ORDER BY id FOR UPDATE SKIP LOCKED"),
		bury:   s("DELETE FROM {{node}} WHERE id = ?1"),
		orphan: s("UPDATE {{lease}} SET node = NULL, suspect = greatest(suspect, ?3) WHERE class = ?1 AND node = ?2"),
		other:  s("SELECT 1 FROM {{lease}} WHERE class = ?1 AND local <> ?2 AND node IS NOT NULL LIMIT 1"),
		free: s("SELECT partition, epoch + 1, suspect, coalesce(node, '') FROM {{lease}} l WHERE class = ?1 AND (node IS NULL OR NOT EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = l.node)) " +
			"ORDER BY partition LIMIT ?2 FOR UPDATE SKIP LOCKED"),
		owned:       s("SELECT 1 FROM {{node}} WHERE id = ?1 LOCK IN SHARE MODE"),
		take:        s("UPDATE {{lease}} SET node = ?2, epoch = epoch + 1, suspect = 0, local = ?4 WHERE class = ?1 AND FIND_IN_SET(partition, ?3)"),
		giveBack:    s("UPDATE {{lease}} SET node = NULL, suspect = 0 WHERE class = ?1 AND node = ?2 AND FIND_IN_SET(partition, ?3)"),
		leaveNode:   s("DELETE FROM {{node}} WHERE class = ?1 AND id = ?2"),
		leaveLeases: s("UPDATE {{lease}} SET node = NULL, suspect = 0 WHERE class = ?1 AND node = ?2"),
	}
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		// A row that an open transaction holds is skipped: its handler has not ended, and waiting would hold up the take-over.
		l.suspects[t] = s("SELECT seq, partition & 63 FROM {{" + t.String() + "}} FORCE INDEX (PRIMARY) WHERE seq <= ?1 AND class = ?2 AND FIND_IN_SET(partition & 63, ?3) ORDER BY seq FOR UPDATE SKIP LOCKED")
		l.countSuspects[t] = s("UPDATE " + myNumbers("?1") + " STRAIGHT_JOIN {{" + t.String() + "}} o FORCE INDEX (PRIMARY) ON o.seq = j.n SET o.attempts = least(o.attempts + 1, 32767)")
	}
	return l
}

// myPartitions are the values of all leases of a class.
func myPartitions() string {
	var all []string
	for p := range outbox.Partitions {
		all = append(all, "(?1, "+strconv.Itoa(p)+")")
	}
	return strings.Join(all, ", ")
}

// Join implements outbox.Leases. A node id that was used before is an error.
func (l *myLeases) Join(ctx context.Context, class, node string, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("store: join %s: a lease of %v; give a positive duration", quoteCut(class), ttl)
	}
	return failed("join "+quoteCut(class), l.db.InTx(ctx, func(tx sqltx.Tx) error {
		if _, err := l.insertNode.exec(ctx, tx, class, node, ttl.Microseconds()); err != nil {
			return err
		}
		leases := 0
		err := l.known.each(ctx, tx, func(r sqltx.Rows) error { return r.Scan(&leases) }, class)
		if err == nil && leases < outbox.Partitions {
			_, err = l.insertLeases.exec(ctx, tx, class)
		}
		return err
	}))
}

// Beat implements outbox.Leases. Whether the node is there is asked: the count of changed rows means different things in
// different sessions.
func (l *myLeases) Beat(ctx context.Context, class, node string, ttl time.Duration, mark int64) (nodes, free int, err error) {
	alive := 0
	_, err = l.beat.do(ctx, l.db, class, node, ttl.Microseconds(), mark)
	if err == nil {
		err = l.count.rows(ctx, l.db, func(r sqltx.Rows) error { return r.Scan(&alive, &nodes, &free) }, class, node)
	}
	if err != nil {
		return 0, 0, failed("beat "+quoteCut(class), err)
	}
	if alive == 0 {
		return 0, 0, outbox.ErrFenced
	}
	return nodes, free, nil
}

// Take implements outbox.Leases. The leases come in order of partition.
func (l *myLeases) Take(ctx context.Context, class, node string, n int, t outbox.Table, countSuspects bool) (taken []outbox.Lease, err error) {
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

func (l *myLeases) takeIn(ctx context.Context, tx sqltx.Tx, class, node string, n int, t outbox.Table, countSuspects bool) ([]outbox.Lease, error) {
	// Nobody removes this node before this transaction ends.
	if alive, err := l.alive.found(ctx, tx, class, node); err != nil {
		return nil, err
	} else if !alive {
		return nil, outbox.ErrFenced
	}
	if err := l.removeDead(ctx, tx, class, node); err != nil {
		return nil, err
	}
	local := boolInt(t == outbox.ToLocal)
	if other, err := l.other.found(ctx, tx, class, local); err != nil {
		return nil, err
	} else if other {
		return nil, errOtherTable
	}
	taken, err := l.unowned(ctx, tx, class, n)
	if err != nil || len(taken) == 0 {
		return nil, err
	}
	if _, err := l.take.exec(ctx, tx, class, node, partitionsOf(taken), local); err != nil {
		return nil, err
	}
	if countSuspects {
		err = raise(ctx, tx, l.suspects[t], l.countSuspects[t], class, taken)
	}
	return taken, err
}

// removeDead removes the class's dead nodes and frees their leases.
func (l *myLeases) removeDead(ctx context.Context, tx sqltx.Tx, class, node string) error {
	type deadNode struct {
		id   string
		mark int64
	}
	var dead []deadNode
	err := l.dead.each(ctx, tx, func(r sqltx.Rows) error {
		var d deadNode
		err := r.Scan(&d.id, &d.mark)
		dead = append(dead, d)
		return err
	}, class, node)
	for _, d := range dead {
		if err == nil {
			_, err = l.bury.exec(ctx, tx, d.id)
		}
		if err == nil {
			_, err = l.orphan.exec(ctx, tx, class, d.id, d.mark)
		}
	}
	return err
}

// unowned locks up to n leases without a node. One whose node seems to have no row is asked for again, by a statement that sees
// what was committed meanwhile: the node may have joined since.
func (l *myLeases) unowned(ctx context.Context, tx sqltx.Tx, class string, n int) ([]outbox.Lease, error) {
	var all []outbox.Lease
	var nodes []string
	err := l.free.each(ctx, tx, func(r sqltx.Rows) error {
		var one outbox.Lease
		var node string
		err := r.Scan(&one.Partition, &one.Epoch, &one.Suspect, &node)
		all, nodes = append(all, one), append(nodes, node)
		return err
	}, class, n)
	if err != nil {
		return nil, err
	}
	var free []outbox.Lease
	for i, one := range all {
		if nodes[i] != "" {
			if owned, err := l.owned.found(ctx, tx, nodes[i]); err != nil {
				return nil, err
			} else if owned {
				continue
			}
		}
		free = append(free, one)
	}
	return free, nil
}

func partitionsOf(leases []outbox.Lease) string {
	var b []byte
	for i, one := range leases {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(one.Partition), 10)
	}
	return string(b)
}

// raise counts an attempt for the rows of a class that dead owners may have begun.
func raise(ctx context.Context, tx sqltx.Tx, suspects, count myStatement, class any, taken []outbox.Lease) error {
	var suspect [outbox.Partitions]int64
	for _, one := range taken {
		suspect[one.Partition] = one.Suspect
	}
	highest := slices.Max(suspect[:])
	if highest == 0 {
		return nil
	}
	var seqs []int64
	err := suspects.each(ctx, tx, func(r sqltx.Rows) error {
		var seq int64
		var partition int16
		err := r.Scan(&seq, &partition)
		if err == nil && seq <= suspect[partition] {
			seqs = append(seqs, seq)
		}
		return err
	}, highest, class, partitionsOf(taken))
	if err == nil && len(seqs) > 0 {
		_, err = count.exec(ctx, tx, jsonInts(seqs), class)
	}
	return err
}

// GiveBack implements outbox.Leases.
func (l *myLeases) GiveBack(ctx context.Context, class, node string, partitions []int16) error {
	if len(partitions) == 0 {
		return nil
	}
	leases := make([]outbox.Lease, len(partitions))
	for i, p := range partitions {
		leases[i].Partition = p
	}
	_, err := l.giveBack.do(ctx, l.db, class, node, partitionsOf(leases))
	return failed("give back leases of "+quoteCut(class), err)
}

// Leave implements outbox.Leases.
func (l *myLeases) Leave(ctx context.Context, class, node string) error {
	return failed("leave "+quoteCut(class), l.db.InTx(ctx, func(tx sqltx.Tx) error {
		if n, err := l.leaveNode.exec(ctx, tx, class, node); err != nil || n == 0 {
			return err
		}
		_, err := l.leaveLeases.exec(ctx, tx, class, node)
		return err
	}))
}
