package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// parkingIdle compares an inbox whose consumer parks what fails with one that cannot, while nothing fails.
func parkingIdle(ctx context.Context, s *scope) error {
	const workers = 8
	c, err := s.newInboxCase(ctx, workers, pick(s.bench, 15_000, 200))
	if err != nil {
		return err
	}
	without := *c
	if without.box, err = inbox.New(c.t.db, withoutParking{c.t.st.Inbox()}, &inbox.Options{Logger: silent()}); err != nil {
		return err
	}
	each := func(c *inboxCase) arm {
		return c.consumer(workers, func(left *counter) sixfold.Route {
			return inbox.On(c.box, func(ctx context.Context, tx pgx.Tx, o order) error {
				left.count(1)
				return business(ctx, tx, o)
			})
		})
	}
	if err := s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: "the inbox without parking, 8 workers"}, goal{ratioAtLeast, 0.95, 1},
		each(&without), each(c)); err != nil {
		return err
	}
	batches := func(c *inboxCase) arm {
		return c.consumer(workers, func(left *counter) sixfold.Route {
			r := inbox.OnBatch(c.box, func(ctx context.Context, tx pgx.Tx, os []order) error {
				left.count(len(os))
				var b pgx.Batch
				for _, o := range os {
					b.Queue(businessInsert, o.Number, o.Customer, o.Cents)
				}
				return tx.SendBatch(ctx, &b).Close()
			})
			r.BatchSize = 100
			return r
		})
	}
	c.n, without.n = pick(s.bench, 60_000, 400), pick(s.bench, 60_000, 400)
	return s.compare(ctx, line{Case: s.name + "/batch", Unit: "msg/s", PeerName: "the inbox without parking, batches of 100"}, goal{ratioAtLeast, 0.95, 1},
		batches(&without), batches(c))
}

// withoutParking is an inbox that knows no lines: it records, and does not ask whether a key is parked.
type withoutParking struct{ inbox.Store }

func (withoutParking) Parking() inbox.Parking { return nil }

func (withoutParking) Record(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record) ([]inbox.Verdict, error) {
	ids, digests := make([][]byte, len(recs)), make([][]byte, len(recs))
	for i := range recs {
		ids[i], digests[i] = recs[i].Message[:], recs[i].Digest[:]
	}
	var n int64
	var err error
	if len(recs) == 1 {
		n, err = tx.Exec(ctx, "INSERT INTO sixfold.inbox (consumer, message, digest, state) VALUES ($1, $2, $3, 1) ON CONFLICT DO NOTHING", consumer, ids[0], digests[0])
	} else {
		n, err = tx.Exec(ctx, `INSERT INTO sixfold.inbox (consumer, message, digest, state)
	SELECT $1, u.message, u.digest, 1 FROM unnest($2::bytea[], $3::bytea[]) u(message, digest) ON CONFLICT DO NOTHING`, consumer, ids, digests)
	}
	if err == nil && int(n) < len(recs) {
		err = errors.New("a message came twice")
	}
	return make([]inbox.Verdict, len(recs)), err
}

// parkedLines is how many keys wait, in the case of redriving.
const parkedLines = 1000

// redrive runs messages that are parked, 100 behind each of 1,000 keys, in their order, one transaction each.
func redrive(ctx context.Context, s *scope) error {
	const workers = 16
	each := pick(s.bench, 100, 2)
	n := parkedLines * each
	t, err := s.onFast(ctx, workers+4)
	if err != nil {
		return err
	}
	box, err := inbox.New(t.db, t.st.Inbox(), &inbox.Options{Logger: silent()})
	if err != nil {
		return err
	}
	var heap atomic.Uint64
	run := func(route func(*counter) sixfold.Route) arm {
		return func(ctx context.Context) (v float64, err error) {
			if err := t.clear(ctx, "business", "sixfold.inbox", "sixfold.parked", "sixfold.line", "sixfold.attempt"); err != nil {
				return 0, err
			}
			if err := t.park(ctx, parkedLines, each); err != nil {
				return 0, err
			}
			broker := memory.New(&memory.Options{Topics: []string{topic}})
			defer func() { err = errors.Join(err, broker.Close(ctx)) }()
			left := newCounter(n)
			runtime.GC()
			start := time.Now()
			if err := runConsumer(ctx, broker, bus.Subscription{Topics: []string{topic}, Group: group, Ordered: true},
				bus.Options{Concurrency: workers, Inbox: box}, left, route(left)); err != nil {
				return 0, err
			}
			v = rate(n, start)
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			heap.Store(max(heap.Load(), m.HeapAlloc))
			return v, t.wantInOrder(ctx, n)
		}
	}
	one := run(func(left *counter) sixfold.Route {
		return inbox.On(box, func(ctx context.Context, tx pgx.Tx, o order) error {
			left.count(1)
			return business(ctx, tx, o)
		})
	})
	batches := run(func(left *counter) sixfold.Route {
		return inbox.OnBatch(box, func(ctx context.Context, tx pgx.Tx, os []order) error {
			left.count(len(os))
			var b pgx.Batch
			for _, o := range os {
				b.Queue(businessInsert, o.Number, o.Customer, o.Cents)
			}
			return tx.SendBatch(ctx, &b).Close()
		})
	})
	results, err := s.interleaved(ctx, one, batches)
	if err != nil {
		return err
	}
	s.say("heap after a run at most %.1f MB", float64(heap.Load())/1e6)
	l := line{Case: s.name, Unit: "msg/s", Note: "one transaction each, in order of their keys"}
	if err := s.alone(l, goal{valueAtLeast, 5000, 10_000}, results[0]); err != nil {
		return err
	}
	l.Case, l.Note = s.name+"/batch", "in batches of 50"
	return s.alone(l, goal{valueAtLeast, 5000, 10_000}, results[1])
}

// park fills lines with messages that are due, by the statements of a restore: what parked them is long gone.
func (t *tables) park(ctx context.Context, lines, each int) error {
	_, err := t.pool.Exec(ctx, fmt.Sprintf(`WITH l AS (INSERT INTO sixfold.line (consumer, key, due, size) SELECT '%[1]s', 'key' || g, now(), %[3]d FROM generate_series(1, %[2]d) g RETURNING id, key),
p AS (INSERT INTO sixfold.parked (line, state, consumer, message, digest, id, source, type, topic, key, attrs, body, attempts)
	SELECT l.id, 1, '%[1]s', substr(sha256((l.key || '/' || i)::bytea), 1, 16), substr(sha256((l.key || '/' || i)::bytea), 1, 16), gen_random_uuid()::text, 'bench', 'bench.orders.placed', '%[4]s', l.key,
		'{"type":"bench.orders.placed"}'::bytea, ('{"number":"' || i || '","customer":"' || l.key || '","cents":1}')::bytea, 0
	FROM generate_series(1, %[3]d) i CROSS JOIN l ORDER BY i RETURNING message, digest)
INSERT INTO sixfold.inbox (consumer, message, digest, state) SELECT '%[1]s', message, digest, 2 FROM p`, group, lines, each, topic))
	if err == nil {
		_, err = t.pool.Exec(ctx, "ANALYZE sixfold.parked, sixfold.line, sixfold.inbox")
	}
	return err
}

// wantInOrder checks that each key's effects are there, once and in its order.
func (t *tables) wantInOrder(ctx context.Context, n int) error {
	var rows, breaks int
	err := t.pool.QueryRow(ctx, `SELECT count(*), count(*) FILTER (WHERE place <> number::integer) FROM (SELECT number, row_number() OVER (PARTITION BY customer ORDER BY id) AS place FROM business) b`).Scan(&rows, &breaks)
	if err != nil {
		return err
	}
	if rows != n || breaks > 0 {
		return fmt.Errorf("%d parked messages had %d effects, %d of them out of order", n, rows, breaks)
	}
	return nil
}
