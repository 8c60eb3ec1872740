package store

import (
	"context"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// pgLeases implements outbox.Leases. A node is a UUID.
type pgLeases struct {
	db                                sqltx.Runner
	join, beat, take, giveBack, leave string
}

func newPgLeases(s *Store) *pgLeases {
	return &pgLeases{
		db: s.db,
		join: s.names.fill(`WITH n AS (INSERT INTO {{node}} (class, id, until) VALUES ($1::text, $2::text::uuid, now() + $3::bigint::double precision * interval '1 microsecond'))
INSERT INTO {{lease}} (class, partition) SELECT $1::text, p FROM generate_series(0, 63) p ON CONFLICT DO NOTHING`),
		// The counts are of the snapshot before the update, in which this node may look dead.
		beat: s.names.fill(`WITH b AS (UPDATE {{node}} n SET until = now() + $3::bigint::double precision * interval '1 microsecond', mark = CASE WHEN $4::bigint = 0 THEN n.mark ELSE $4::bigint END
  WHERE n.id = $2::text::uuid AND n.class = $1::text RETURNING n.id),
live AS MATERIALIZED (SELECT n.id FROM {{node}} n WHERE n.class = $1::text AND (n.until >= now() OR n.id = $2::text::uuid))
SELECT (SELECT count(*) FROM b), (SELECT count(*) FROM live),
  (SELECT count(*) FROM {{lease}} l WHERE l.class = $1::text AND NOT EXISTS (SELECT 1 FROM live WHERE live.id = l.node))`),
		take: s.names.fill("SELECT * FROM {{lease_take}}($1::text, $2::text::uuid, $3::integer, $4::boolean, $5::boolean)"),
		// Locked in the order in which a take-over locks them.
		giveBack: s.names.fill(`WITH own AS MATERIALIZED (SELECT l.partition FROM {{lease}} l WHERE l.class = $1::text AND l.node = $2::text::uuid AND l.partition = ANY($3::text::smallint[]) ORDER BY l.partition FOR UPDATE)
UPDATE {{lease}} l SET node = NULL, suspect = 0 FROM own WHERE l.class = $1::text AND l.partition = own.partition`),
		leave: s.names.fill(`WITH gone AS (DELETE FROM {{node}} n WHERE n.id = $2::text::uuid AND n.class = $1::text RETURNING n.id)
UPDATE {{lease}} l SET node = NULL, suspect = 0 FROM gone WHERE l.class = $1::text AND l.node = gone.id`),
	}
}

// Join implements outbox.Leases. A node id that was used before is an error.
func (l *pgLeases) Join(ctx context.Context, class, node string, ttl time.Duration) error {
	if ttl <= 0 {
		return fmt.Errorf("store: join %s: a lease of %v; give a positive duration", quoteCut(class), ttl)
	}
	_, err := l.db.ExecSQL(ctx, l.join, class, node, ttl.Microseconds())
	return failed("join "+quoteCut(class), err)
}

// Beat implements outbox.Leases.
func (l *pgLeases) Beat(ctx context.Context, class, node string, ttl time.Duration, mark int64) (nodes, free int, err error) {
	alive := 0
	err = l.db.EachRow(ctx, l.beat, []any{class, node, ttl.Microseconds(), mark}, func(rows sqltx.Rows) error {
		return rows.Scan(&alive, &nodes, &free)
	})
	if err != nil {
		return 0, 0, failed("beat "+quoteCut(class), err)
	}
	if alive == 0 {
		return 0, 0, outbox.ErrFenced
	}
	return nodes, free, nil
}

// Take implements outbox.Leases. The leases come in order of partition.
func (l *pgLeases) Take(ctx context.Context, class, node string, n int, t outbox.Table, countSuspects bool) ([]outbox.Lease, error) {
	var taken []outbox.Lease
	var one outbox.Lease
	dest := []any{&one.Partition, &one.Epoch, &one.Suspect}
	err := l.db.EachRow(ctx, l.take, []any{class, node, n, t == outbox.ToLocal, countSuspects}, func(rows sqltx.Rows) error {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		taken = append(taken, one)
		return nil
	})
	if err != nil {
		return nil, failed("take leases of "+quoteCut(class), err)
	}
	if len(taken) == 1 {
		switch taken[0].Partition {
		case -1:
			return nil, outbox.ErrFenced
		case -2:
			return nil, errTwoTables(class)
		}
	}
	return taken, nil
}

func errTwoTables(class string) error {
	return fmt.Errorf("store: take leases of %s: it is the name of a transport and of a local consumer, which cannot share leases; rename one of them", quoteCut(class))
}

// GiveBack implements outbox.Leases.
func (l *pgLeases) GiveBack(ctx context.Context, class, node string, partitions []int16) error {
	if len(partitions) == 0 {
		return nil
	}
	w := newArray(4 * len(partitions))
	for _, p := range partitions {
		w.int(int64(p))
	}
	_, err := l.db.ExecSQL(ctx, l.giveBack, class, node, w.String())
	return failed("give back leases of "+quoteCut(class), err)
}

// Leave implements outbox.Leases.
func (l *pgLeases) Leave(ctx context.Context, class, node string) error {
	_, err := l.db.ExecSQL(ctx, l.leave, class, node)
	return failed("leave "+quoteCut(class), err)
}
