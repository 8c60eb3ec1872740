package store

import (
	"context"

	"github.com/sixfold-go/sixfold/outbox"
)

// pgKeeper implements outbox.Keeper.
type pgKeeper struct {
	s                              *Store
	rows                           [2]string
	owners, nodes                  string
	purgeDelivered, purgePublished string
}

func newPgKeeper(s *Store) *pgKeeper {
	rows := func(t outbox.Table) string {
		return s.names.fill(`SELECT class, (partition::integer & 63)::smallint, count(*), (extract(epoch FROM clock_timestamp() - min(created_at))::numeric * 1000000.0)::bigint
FROM {{` + t.String() + `}} GROUP BY 1, 2 ORDER BY 1, 2`)
	}
	return &pgKeeper{
		s:    s,
		rows: [2]string{rows(outbox.ToBroker), rows(outbox.ToLocal)},
		owners: s.names.fill(`SELECT l.class, l.partition, l.epoch, l.node::text FROM {{lease}} l JOIN {{node}} n ON n.id = l.node AND n.until >= now()
WHERE l.local = $1::boolean ORDER BY l.class, l.partition`),
		nodes: s.names.fill(`SELECT n.class, count(*) FROM {{node}} n WHERE n.until >= now()
AND EXISTS (SELECT 1 FROM {{lease}} l WHERE l.class = n.class AND l.local = $1::boolean) GROUP BY n.class`),
		purgeDelivered: s.names.fill(`DELETE FROM {{delivered}} WHERE ctid = ANY(ARRAY(SELECT d.ctid FROM {{delivered}} d
WHERE d.delivered_at < now() - $1::bigint::double precision * interval '1 microsecond' ORDER BY d.delivered_at LIMIT $2::integer FOR UPDATE SKIP LOCKED))`),
		purgePublished: s.names.fill(`DELETE FROM {{published}} WHERE ctid = ANY(ARRAY(SELECT p.ctid FROM {{published}} p
WHERE p.until < now() AND p.until < 'infinity' ORDER BY p.until LIMIT $1::integer FOR UPDATE SKIP LOCKED))`),
	}
}

// Stats implements outbox.Keeper. It reads the whole table.
func (k *pgKeeper) Stats(ctx context.Context, t outbox.Table) (outbox.Stats, error) {
	var c statsCollector
	err := k.s.db.EachRow(ctx, k.rows[t], nil, c.rows)
	if err == nil {
		err = k.s.db.EachRow(ctx, k.owners, []any{t == outbox.ToLocal}, c.owners)
	}
	if err == nil {
		err = k.s.db.EachRow(ctx, k.nodes, []any{t == outbox.ToLocal}, c.nodes)
	}
	if err != nil {
		return outbox.Stats{}, failed("read the statistics of "+t.String(), err)
	}
	return c.stats(), nil
}

// Purge implements outbox.Keeper.
func (k *pgKeeper) Purge(ctx context.Context, limit int) (int, error) {
	d, err := k.s.db.ExecSQL(ctx, k.purgeDelivered, k.s.keep.Microseconds(), limit)
	if err != nil {
		return 0, failed("purge delivered rows", err)
	}
	p, err := k.s.db.ExecSQL(ctx, k.purgePublished, limit)
	if err != nil {
		return int(d), failed("purge published ids", err)
	}
	return int(d + p), nil
}
