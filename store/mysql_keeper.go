package store

import (
	"context"
	"strings"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// myKeeper implements outbox.Keeper.
type myKeeper struct {
	*my
	s                           *Store
	stats                       [2]myStatement
	owners, nodes               myStatement
	oldDelivered, dropDelivered myStatement
	oldPublished                myStatement
}

func newMyKeeper(m *my, s *Store) *myKeeper {
	stats := func(t outbox.Table) myStatement {
		return m.statement("SELECT class, partition & 63, count(*), " + myNow + " - min(created_at) FROM {{" + t.String() + "}} GROUP BY class, partition & 63 ORDER BY class, partition & 63")
	}
	return &myKeeper{my: m, s: s,
		stats: [2]myStatement{stats(outbox.ToBroker), stats(outbox.ToLocal)},
		owners: m.statement("SELECT l.class, l.partition, l.epoch, l.node FROM {{lease}} l JOIN {{node}} n ON n.id = l.node AND n.until >= " + myNow +
			" WHERE l.local = ?1 ORDER BY l.class, l.partition"),
		nodes: m.statement("SELECT n.class, count(*) FROM {{node}} n WHERE n.until >= " + myNow +
			" AND EXISTS (SELECT 1 FROM {{lease}} l WHERE l.class = n.class AND l.local = ?1) GROUP BY n.class"),
		oldDelivered:  m.statement("SELECT n FROM {{delivered}} WHERE delivered_at < " + myNow + " - ?1 ORDER BY delivered_at LIMIT ?2 FOR UPDATE SKIP LOCKED"),
		dropDelivered: m.statement("DELETE o FROM " + myNumbers("?1") + " STRAIGHT_JOIN {{delivered}} o FORCE INDEX (PRIMARY) ON o.n = j.n"),
		oldPublished:  m.statement("SELECT claim FROM {{published}} WHERE until < " + myNow + " ORDER BY until LIMIT ?1 FOR UPDATE SKIP LOCKED"),
	}
}

// Stats implements outbox.Keeper. It reads the whole table.
func (k *myKeeper) Stats(ctx context.Context, t outbox.Table) (outbox.Stats, error) {
	var c statsCollector
	local := boolInt(t == outbox.ToLocal)
	err := k.stats[t].rows(ctx, k.db, c.rows)
	if err == nil {
		err = k.owners.rows(ctx, k.db, c.owners, local)
	}
	if err == nil {
		err = k.nodes.rows(ctx, k.db, c.nodes, local)
	}
	if err != nil {
		return outbox.Stats{}, failed("read the statistics of "+t.String(), err)
	}
	return c.stats(), nil
}

// Purge implements outbox.Keeper.
func (k *myKeeper) Purge(ctx context.Context, limit int) (n int, err error) {
	err = k.db.InTx(ctx, func(tx sqltx.Tx) error {
		var old []int64
		err := k.oldDelivered.each(ctx, tx, scanInts(&old), k.keep.Microseconds(), limit)
		if err == nil && len(old) > 0 {
			_, err = k.dropDelivered.exec(ctx, tx, jsonInts(old))
		}
		n = len(old)
		return err
	})
	if err != nil {
		return 0, failed("purge delivered rows", err)
	}
	var claims []any
	err = k.db.InTx(ctx, func(tx sqltx.Tx) error {
		claims = nil
		err := k.oldPublished.each(ctx, tx, func(r sqltx.Rows) error {
			var c []byte
			err := r.Scan(&c)
			claims = append(claims, c)
			return err
		}, limit)
		for rest := claims; err == nil && len(rest) > 0; {
			part := rest[:min(myRowsAtMost, len(rest))]
			rest = rest[len(part):]
			_, err = tx.Exec(ctx, myQuoted(k.names.fill("DELETE FROM {{published}} WHERE claim IN ("))+strings.TrimSuffix(strings.Repeat("?, ", len(part)), ", ")+")", part...)
		}
		return err
	})
	if err != nil {
		return n, failed("purge published ids", err)
	}
	return n + len(claims), nil
}
