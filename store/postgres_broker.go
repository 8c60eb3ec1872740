package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// pgBroker implements brokerTables.
type pgBroker struct {
	s                                                *Store
	keeper                                           *pgKeeper
	sendAll, enter, leave, keepFor, readRows, remove string
	takeLeases, list, clear, purge                   string
}

func newPgBroker(s *Store) *pgBroker {
	fill := s.names.fill
	return &pgBroker{
		s:          s,
		keeper:     newPgKeeper(s),
		sendAll:    fill("SELECT * FROM {{queue_send}}($1::text::smallint[], $2::text::text[], $3::text::text[], $4::text::text[], $5::text::integer[], $6::text::integer[], $7::text::integer[], $8::bytea)"),
		enter:      fill("SELECT {{queue_attach}}($1::text, $2::text, $3::smallint, $4::boolean, $5::bigint)"),
		leave:      fill("SELECT {{queue_detach}}($1::text, $2::text, $3::smallint)"),
		keepFor:    fill("SELECT {{queue_keep}}($1::text, $2::bigint)"),
		readRows:   fill("SELECT * FROM {{queue_read}}($1::bigint, $2::integer, $3::bigint, $4::bigint)"),
		remove:     fill("SELECT {{queue_settle}}($1::bigint, $2::text::uuid, $3::text::bigint[])"),
		takeLeases: fill("SELECT * FROM {{queue_take}}($1::bigint, $2::text, $3::text::uuid, $4::integer)"),
		list: fill(`SELECT g.id, g.topic, g.name, g.kind, g.leaving, g.keep, coalesce(q.n, 0), coalesce(q.oldest, 0),
  (SELECT count(*) FROM {{node}} d WHERE d.class = 'queue/' || g.id AND d.until >= now())
FROM {{queue_group}} g LEFT JOIN (SELECT class, count(*) AS n, (extract(epoch FROM clock_timestamp() - min(created_at))::numeric * 1000000.0)::bigint AS oldest
  FROM {{queue}} GROUP BY class) q ON q.class = g.id ORDER BY g.topic, g.kind, g.name, g.id`),
		clear: fill(`DELETE FROM {{queue}} WHERE class = $1::bigint AND seq = ANY(ARRAY(SELECT q.seq FROM {{queue}} q WHERE q.class = $1::bigint
ORDER BY q.class, q.seq LIMIT $2::integer FOR UPDATE SKIP LOCKED))`),
		purge: fill("SELECT {{queue_purge}}($1::integer)"),
	}
}

func (b *pgBroker) send(ctx context.Context, rows []outbox.Row) (missing []string, err error) {
	parts, err := chunks(rows)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	part := func(each eachRow, p [2]int) error {
		all := arraysOf(rows[p[0]:p[1]], nil)
		args := append(all[:2:2], all[3:]...) // without the classes
		var topic string
		return each(ctx, b.sendAll, args, func(r sqltx.Rows) error {
			err := r.Scan(&topic)
			missing = append(missing, topic)
			return err
		})
	}
	if len(parts) == 1 { // one statement and no transaction, so that nobody who stops in the middle holds the topics' locks
		err = part(b.s.db.EachRow, parts[0])
		return missing, failed("send", err)
	}
	err = b.s.db.InTx(ctx, func(tx sqltx.Tx) error {
		missing = nil
		for _, p := range parts {
			if err := part(tx.Each, p); err != nil {
				return err
			}
			if len(missing) > 0 {
				return errMissing
			}
		}
		return nil
	})
	if errors.Is(err, errMissing) {
		return missing, nil
	}
	return nil, failed("send", err)
}

func (b *pgBroker) attach(ctx context.Context, topic, name string, kind int, fromKept bool, withID int64) (id int64, err error) {
	err = b.s.db.EachRow(ctx, b.enter, []any{topic, name, kind, fromKept, withID}, func(r sqltx.Rows) error { return r.Scan(&id) })
	return id, failed("attach to "+quoteCut(topic), err)
}

func (b *pgBroker) detach(ctx context.Context, topic, name string, kind int) (found bool, err error) {
	err = b.s.db.EachRow(ctx, b.leave, []any{topic, name, kind}, func(r sqltx.Rows) error { return r.Scan(&found) })
	return found, failed("detach from "+quoteCut(topic), err)
}

func (b *pgBroker) keep(ctx context.Context, topic string, keep time.Duration) error {
	_, err := b.s.db.ExecSQL(ctx, b.keepFor, topic, keep.Microseconds())
	return failed("keep "+quoteCut(topic), err)
}

func (b *pgBroker) read(ctx context.Context, class, after int64, limit int, own outbox.Ownership) ([]outbox.Row, error) {
	in := rowScan{limit: limit}
	err := b.s.db.EachRow(ctx, b.readRows, []any{after, limit, class, mask(&own)}, in.into(own.Class))
	if err != nil {
		return nil, failed("read the queue", err)
	}
	return in.rows, nil
}

func (b *pgBroker) settle(ctx context.Context, class int64, node string, seqs []int64) (n int, err error) {
	err = b.s.db.EachRow(ctx, b.remove, []any{class, node, intArray(seqs)}, func(r sqltx.Rows) error { return r.Scan(&n) })
	return n, failed("settle in the queue", err)
}

func (b *pgBroker) take(ctx context.Context, class int64, leaseClass, node string, n int) ([]outbox.Lease, error) {
	var taken []outbox.Lease
	var one outbox.Lease
	dest := []any{&one.Partition, &one.Epoch, &one.Suspect}
	err := b.s.db.EachRow(ctx, b.takeLeases, []any{class, leaseClass, node, n}, func(r sqltx.Rows) error {
		if err := r.Scan(dest...); err != nil {
			return err
		}
		taken = append(taken, one)
		return nil
	})
	switch {
	case err != nil:
		return nil, failed("take leases of "+leaseClass, err)
	case len(taken) == 1 && taken[0].Partition == -1:
		return nil, outbox.ErrFenced
	case len(taken) == 1 && taken[0].Partition == -2:
		return nil, errTwoTables(leaseClass)
	}
	return taken, nil
}

func (b *pgBroker) groups(ctx context.Context) (all []BrokerGroup, err error) {
	err = b.s.db.EachRow(ctx, b.list, nil, func(r sqltx.Rows) error {
		g, err := scanGroup(r)
		all = append(all, g)
		return err
	})
	return all, failed("list the groups", err)
}

// scanGroup reads a row of the list of groups; durations are microseconds.
func scanGroup(r sqltx.Rows) (g BrokerGroup, err error) {
	var kind int
	var keep, oldest int64
	err = r.Scan(&g.id, &g.Topic, &g.Name, &kind, &g.Leaving, &keep, &g.Pending, &oldest, &g.Nodes)
	g.Copy, g.Kept = kind == copyKind, kind == keptKind
	g.Keep, g.Oldest = time.Duration(keep)*time.Microsecond, time.Duration(max(oldest, 0))*time.Microsecond
	return g, err
}

func (b *pgBroker) empty(ctx context.Context, class int64, limit int) (int, error) {
	n, err := b.s.db.ExecSQL(ctx, b.clear, class, limit)
	return int(n), failed("empty the queue", err)
}

// Purge removes what nobody needs.
func (b *pgBroker) Purge(ctx context.Context, limit int) (n int, err error) {
	err = b.s.db.EachRow(ctx, b.purge, []any{limit}, func(r sqltx.Rows) error { return r.Scan(&n) })
	return n, failed("purge the queue", err)
}

// Check looks at the server, the schema, the rights and the sequence.
func (b *pgBroker) Check(ctx context.Context) (warnings []string, err error) {
	if err := (postgres{}).begin(ctx, b.s); err != nil {
		return nil, err
	}
	if err := b.s.migrations.check(ctx); err != nil {
		return nil, err
	}
	lacks, err := b.keeper.lacks(ctx, brokering)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(lacks...); err != nil {
		return nil, fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	if err := b.keeper.sequence(ctx, "queue"); err != nil {
		return nil, err
	}
	return b.keeper.durability(ctx)
}
