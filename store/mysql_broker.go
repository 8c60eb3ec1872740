package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// myBroker implements brokerTables. Who writes to a topic holds its row in queue_topic until the transaction has ended, and
// takes it before the first number is drawn; InnoDB gives locks back after what was committed can be read. So the rows of
// a group become visible in the order of their numbers.
type myBroker struct {
	*my
	keeper                                        *myKeeper
	leases                                        *myLeases
	sender                                        *mySender
	byName, hold, holdThere, stamp                myStatement
	enter, enterAgain, forget, fromKept           myStatement
	leave, keepFor, keepNew, readRows             myStatement
	remove, alive, suspects, countSuspect, unmark myStatement
	list, first, old, drop                        myStatement
	toPurge, holdGroup, dropNodes, dropLeases     myStatement
	goneCopy, bare, dropTopic                     myStatement
}

func newMyBroker(m *my, s *Store) *myBroker {
	st := m.statement
	rows := "FROM " + myNumbers("?1") + " STRAIGHT_JOIN {{queue}} o FORCE INDEX (PRIMARY) ON o.class = ?2 AND o.seq = j.n"
	mine := "(?4 >> (partition & 63)) & 1 = 1"
	return &myBroker{my: m, keeper: newMyKeeper(m, s), leases: newMyLeases(m), sender: newMySender(m),
		byName:     st("SELECT id FROM {{queue_group}} WHERE topic = ?1 AND kind = ?2 AND name = ?3 AND leaving = 0"),
		hold:       st("INSERT INTO {{queue_topic}} (topic, stamp) VALUES (?1, ?2) ON DUPLICATE KEY UPDATE stamp = stamp"),
		holdThere:  st("SELECT 1 FROM {{queue_topic}} WHERE topic = ?1 FOR UPDATE"),
		stamp:      st("UPDATE {{queue_topic}} SET stamp = ?2 WHERE topic = ?1"),
		enter:      st("INSERT INTO {{queue_group}} (topic, name, kind) VALUES (?1, ?2, ?3)"),
		enterAgain: st("INSERT INTO {{queue_group}} (id, topic, name, kind) VALUES (?1, ?2, ?3, ?4)"),
		forget:     st("DELETE FROM {{queue_group}} WHERE id = ?1"),
		fromKept: st("INSERT INTO {{queue}} (class, partition, id, key, attrs, body, created_at) SELECT ?1, q.partition, q.id, q.key, q.attrs, q.body, q.created_at " +
			"FROM {{queue_group}} g STRAIGHT_JOIN {{queue}} q FORCE INDEX (PRIMARY) ON q.class = g.id WHERE g.topic = ?2 AND g.kind = 3 AND g.leaving = 0 AND q.created_at >= " + myNow + " - g.keep ORDER BY q.seq"),
		leave:   st("UPDATE {{queue_group}} SET leaving = id WHERE topic = ?1 AND name = ?2 AND kind = ?3 AND leaving = 0"),
		keepFor: st("UPDATE {{queue_group}} SET keep = ?2 WHERE id = ?1"),
		keepNew: st("INSERT INTO {{queue_group}} (topic, name, kind, keep) VALUES (?1, '', 3, ?2)"),
		readRows: st("SELECT seq, partition & 63, attempts, CASE WHEN " + mine + " THEN id ELSE '' END, '', CASE WHEN " + mine + " THEN coalesce(key, '') ELSE '' END, CASE WHEN " + mine +
			" THEN attrs END, CASE WHEN " + mine + " THEN body END, body IS NULL FROM {{queue}} FORCE INDEX (PRIMARY) WHERE class = ?3 AND seq > ?1 ORDER BY seq LIMIT ?2"),
		// The node is looked at in the statement that deletes: a take-over removes its row first.
		remove: st("DELETE o " + rows + " WHERE EXISTS (SELECT 1 FROM {{node}} n WHERE n.id = ?3)"),
		alive:  st("SELECT 1 FROM {{node}} WHERE id = ?1"),
		// A row that somebody holds is being settled.
		suspects:     st("SELECT seq, partition & 63 FROM {{queue}} FORCE INDEX (PRIMARY) WHERE seq <= ?1 AND class = ?2 AND FIND_IN_SET(partition & 63, ?3) ORDER BY seq FOR UPDATE SKIP LOCKED"),
		countSuspect: st("UPDATE " + myNumbers("?1") + " STRAIGHT_JOIN {{queue}} o FORCE INDEX (PRIMARY) ON o.class = ?2 AND o.seq = j.n SET o.attempts = least(o.attempts + 1, 32767)"),
		unmark:       st("UPDATE {{lease}} SET local = NULL WHERE class = ?1 AND node = ?2"),
		list: st("SELECT g.id, g.topic, g.name, g.kind, g.leaving <> 0, g.keep, (SELECT count(*) FROM {{queue}} q WHERE q.class = g.id), " +
			"coalesce((SELECT " + myNow + " - min(q.created_at) FROM {{queue}} q WHERE q.class = g.id), 0), " +
			"(SELECT count(*) FROM {{node}} d WHERE d.class = concat('queue/', g.id) AND d.until >= " + myNow + ") FROM {{queue_group}} g ORDER BY g.topic, g.kind, g.name, g.id"),
		first:      st("SELECT seq FROM {{queue}} FORCE INDEX (PRIMARY) WHERE class = ?1 ORDER BY seq LIMIT ?2 FOR UPDATE SKIP LOCKED"),
		old:        st("SELECT o.seq FROM (SELECT seq, created_at FROM {{queue}} FORCE INDEX (PRIMARY) WHERE class = ?1 ORDER BY seq LIMIT ?2) o WHERE ?4 = 1 OR o.created_at < " + myNow + " - ?3 ORDER BY o.seq"),
		drop:       st("DELETE o " + rows),
		toPurge:    st("SELECT id FROM {{queue_group}} WHERE leaving <> 0 OR kind = 3 ORDER BY id"),
		holdGroup:  st("SELECT leaving <> 0, keep FROM {{queue_group}} WHERE id = ?1 AND (leaving <> 0 OR kind = 3) FOR UPDATE SKIP LOCKED"),
		dropNodes:  st("DELETE FROM {{node}} WHERE class = ?1"),
		dropLeases: st("DELETE FROM {{lease}} WHERE class = ?1"),
		goneCopy: st("SELECT c.topic, c.name FROM {{queue_group}} c WHERE c.kind = 2 AND c.leaving = 0 AND c.made_at < " + myNow + " - ?1 AND NOT EXISTS " +
			"(SELECT 1 FROM {{node}} d WHERE d.class = concat('queue/', c.id) AND d.until >= " + myNow + " - ?1) LIMIT 1"),
		bare:      st("SELECT t.topic FROM {{queue_topic}} t WHERE NOT EXISTS (SELECT 1 FROM {{queue_group}} g WHERE g.topic = t.topic) ORDER BY t.topic LIMIT ?1"),
		dropTopic: st("DELETE FROM {{queue_topic}} WHERE topic = ?1 AND NOT EXISTS (SELECT 1 FROM {{queue_group}} g WHERE g.topic = ?1)"),
	}
}

func newStamp() int64 { return rand.Int64N(math.MaxInt64) + 1 }

func (b *myBroker) send(ctx context.Context, rows []outbox.Row) (missing []string, err error) {
	missing, err = b.sender.send(ctx, rows)
	return missing, failed("send", err)
}

func (b *myBroker) attach(ctx context.Context, topic, name string, kind int, fromKept bool, withID int64) (id int64, err error) {
	// Nearly always it is there, and looking takes no lock.
	var found []int64
	if err := b.byName.rows(ctx, b.db, scanInts(&found), topic, kind, name); err != nil || len(found) > 0 {
		return firstOf(found), failed("attach to "+quoteCut(topic), err)
	}
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		id, err = b.attachIn(ctx, tx, topic, name, kind, fromKept, withID)
		return err
	})
	return id, failed("attach to "+quoteCut(topic), err)
}

func (b *myBroker) attachIn(ctx context.Context, tx sqltx.Tx, topic, name string, kind int, fromKept bool, withID int64) (int64, error) {
	if _, err := b.hold.exec(ctx, tx, topic, newStamp()); err != nil {
		return 0, err
	}
	var found []int64
	err := b.byName.each(ctx, tx, scanInts(&found), topic, kind, name)
	if err != nil || len(found) > 0 {
		return firstOf(found), err
	}
	if withID > 0 {
		if _, err = b.forget.exec(ctx, tx, withID); err == nil {
			_, err = b.enterAgain.exec(ctx, tx, withID, topic, name, kind)
		}
	} else {
		_, err = b.enter.exec(ctx, tx, topic, name, kind)
	}
	if err == nil {
		err = b.byName.each(ctx, tx, scanInts(&found), topic, kind, name)
	}
	if err == nil && len(found) != 1 {
		err = errors.New("the group that was made is not there")
	}
	if err == nil && fromKept && withID == 0 {
		_, err = b.fromKept.exec(ctx, tx, found[0], topic)
	}
	if err == nil {
		_, err = b.stamp.exec(ctx, tx, topic, newStamp())
	}
	return firstOf(found), err
}

func firstOf(ns []int64) int64 {
	if len(ns) == 0 {
		return 0
	}
	return ns[0]
}

func (b *myBroker) detach(ctx context.Context, topic, name string, kind int) (found bool, err error) {
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		found = false
		if there, err := b.holdThere.found(ctx, tx, topic); err != nil || !there {
			return err
		}
		n, err := b.leave.exec(ctx, tx, topic, name, kind)
		if err == nil && n > 0 {
			found = true
			_, err = b.stamp.exec(ctx, tx, topic, newStamp())
		}
		return err
	})
	return found, failed("detach from "+quoteCut(topic), err)
}

func (b *myBroker) keep(ctx context.Context, topic string, keep time.Duration) error {
	if keep == 0 {
		_, err := b.detach(ctx, topic, "", keptKind)
		return err
	}
	return failed("keep "+quoteCut(topic), b.db.InTx(ctx, func(tx sqltx.Tx) error {
		var found []int64
		_, err := b.hold.exec(ctx, tx, topic, newStamp())
		if err == nil {
			err = b.byName.each(ctx, tx, scanInts(&found), topic, keptKind, "")
		}
		switch {
		case err != nil:
			return err
		case len(found) > 0:
			_, err = b.keepFor.exec(ctx, tx, found[0], keep.Microseconds())
			return err
		}
		if _, err = b.keepNew.exec(ctx, tx, topic, keep.Microseconds()); err == nil {
			_, err = b.stamp.exec(ctx, tx, topic, newStamp())
		}
		return err
	}))
}

func (b *myBroker) read(ctx context.Context, class, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	in := rowScan{limit: limit, tellsNull: true}
	if err := b.readRows.rows(ctx, b.db, in.into(own.Class), after, limit, class, mask(&own)); err != nil {
		return nil, failed("read the queue", err)
	}
	return in.rows, nil
}

func (b *myBroker) settle(ctx context.Context, class int64, node string, seqs []int64) (int, error) {
	n, err := b.remove.do(ctx, b.db, jsonInts(seqs), class, node)
	if err != nil || n > 0 {
		return int(n), failed("settle in the queue", err)
	}
	alive := false
	err = b.alive.rows(ctx, b.db, func(sqltx.Rows) error { alive = true; return nil }, node)
	if err == nil && !alive {
		return -1, nil
	}
	return 0, failed("settle in the queue", err)
}

func (b *myBroker) take(ctx context.Context, class int64, leaseClass, node string, n int) (taken []outbox.Lease, err error) {
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		if taken, err = b.leases.takeIn(ctx, tx, leaseClass, node, n, outbox.ToLocal, false); err != nil || len(taken) == 0 {
			return err
		}
		if _, err := b.unmark.exec(ctx, tx, leaseClass, node); err != nil { // they belong to none of the two tables
			return err
		}
		return raise(ctx, tx, b.suspects, b.countSuspect, class, taken)
	})
	switch {
	case errors.Is(err, outbox.ErrFenced):
		return nil, outbox.ErrFenced
	case errors.Is(err, errOtherTable):
		return nil, errTwoTables(leaseClass)
	case err != nil:
		return nil, failed("take leases of "+leaseClass, err)
	}
	return taken, nil
}

func (b *myBroker) groups(ctx context.Context) (all []BrokerGroup, err error) {
	err = b.list.rows(ctx, b.db, func(r sqltx.Rows) error {
		g, err := scanGroup(r)
		all = append(all, g)
		return err
	})
	return all, failed("list the groups", err)
}

func (b *myBroker) empty(ctx context.Context, class int64, limit int) (n int, err error) {
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		var seqs []int64
		err := b.first.each(ctx, tx, scanInts(&seqs), class, limit)
		if n = len(seqs); err == nil && n > 0 {
			_, err = b.drop.exec(ctx, tx, jsonInts(seqs), class)
		}
		return err
	})
	return n, failed("empty the queue", err)
}

// Purge removes what nobody needs, each group in a transaction of its own.
func (b *myBroker) Purge(ctx context.Context, limit int) (most int, err error) {
	var ids []int64
	err = b.toPurge.rows(ctx, b.db, scanInts(&ids))
	for i := 0; i < len(ids) && err == nil; i++ {
		var n int
		n, err = b.purgeGroup(ctx, ids[i], limit)
		most = max(most, n)
	}
	if err == nil {
		err = b.purgeTopics(ctx, limit)
	}
	if err != nil {
		return most, failed("purge the queue", err)
	}
	var topic, name string
	err = b.goneCopy.rows(ctx, b.db, func(r sqltx.Rows) error { return r.Scan(&topic, &name) }, copyGoneFor.Microseconds())
	if err == nil && topic != "" {
		found := false
		if found, err = b.detach(ctx, topic, name, copyKind); found {
			most = limit
		}
	}
	return most, failed("purge the queue", err)
}

func (b *myBroker) purgeGroup(ctx context.Context, id int64, limit int) (n int, err error) {
	err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
		there, leaving, keep := false, false, int64(0)
		err := b.holdGroup.each(ctx, tx, func(r sqltx.Rows) error { there = true; return r.Scan(&leaving, &keep) }, id)
		if n = 0; err != nil || !there { // or another process is at it
			return err
		}
		var seqs []int64
		if err := b.old.each(ctx, tx, scanInts(&seqs), id, limit, keep, boolInt(leaving)); err != nil {
			return err
		}
		if n = len(seqs); n > 0 {
			_, err = b.drop.exec(ctx, tx, jsonInts(seqs), id)
		}
		if err != nil || !leaving || n >= limit {
			return err
		}
		class := fmt.Sprintf("queue/%d", id)
		if _, err = b.dropNodes.exec(ctx, tx, class); err == nil {
			_, err = b.dropLeases.exec(ctx, tx, class)
		}
		if err == nil {
			_, err = b.forget.exec(ctx, tx, id)
		}
		return err
	})
	return n, err
}

// purgeTopics removes topics without groups. Who enters a group meanwhile holds the topic.
func (b *myBroker) purgeTopics(ctx context.Context, limit int) error {
	var topics []string
	err := b.bare.rows(ctx, b.db, func(r sqltx.Rows) error {
		var t string
		err := r.Scan(&t)
		topics = append(topics, t)
		return err
	}, limit)
	for i := 0; i < len(topics) && err == nil; i++ {
		err = b.db.InTx(ctx, func(tx sqltx.Tx) error {
			if there, err := b.holdThere.found(ctx, tx, topics[i]); err != nil || !there {
				return err
			}
			_, err := b.dropTopic.exec(ctx, tx, topics[i])
			return err
		})
	}
	return err
}

// Check looks at the server, the schema and the settings.
func (b *myBroker) Check(ctx context.Context) (warnings []string, err error) {
	return b.keeper.checkFor(ctx, func(ctx context.Context) error { return errors.Join(b.keeper.sequence(ctx, "queue"), b.packets(ctx)) })
}

// packets refuses a server that would not take every message that is promised.
func (b *myBroker) packets(ctx context.Context) error {
	size, err := b.sender.limits.packet(ctx, b.db.EachRow)
	if err == nil && size < myMinPacket {
		return fmt.Errorf("store: check the queue: %w: the server's max_allowed_packet is %d, and messages of %d bytes need %d; raise it", bus.ErrRefused, size, myMaxBody, myMinPacket)
	}
	return failed("check the queue", err)
}
