package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
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
	each := func(c *inboxCase) func(*counter) sixfold.Route {
		return func(left *counter) sixfold.Route {
			return inbox.On(c.box, func(ctx context.Context, tx pgx.Tx, o order) error {
				left.count(1)
				return business(ctx, tx, o)
			})
		}
	}
	if err := s.idleParking(ctx, s.name, "the inbox without parking, 8 workers", workers, &without, c, each); err != nil {
		return err
	}
	batches := func(c *inboxCase) func(*counter) sixfold.Route {
		return func(left *counter) sixfold.Route {
			r := inbox.OnBatch(c.box, func(ctx context.Context, tx pgx.Tx, orders []order) error {
				left.count(len(orders))
				var b pgx.Batch
				for _, o := range orders {
					b.Queue(businessInsert, o.Number, o.Customer, o.Cents)
				}
				return tx.SendBatch(ctx, &b).Close()
			})
			r.BatchSize = 100
			return r
		}
	}
	c.n, without.n = pick(s.bench, 60_000, 400), pick(s.bench, 60_000, 400)
	return s.idleParking(ctx, s.name+"/batch", "the inbox without parking, batches of 100", workers, &without, c, batches)
}

// idleParking reports the rates of both, and what each message costs the processors, this one's and the server's.
func (s *scope) idleParking(ctx context.Context, name, peer string, workers int, without, with *inboxCase, route func(*inboxCase) func(*counter) sixfold.Route) error {
	told := true
	spending := func(c *inboxCase, spent *[]float64) arm {
		return c.loaded(func(ctx context.Context, t bus.Transport) error {
			before, err := c.t.processors(ctx)
			if errors.Is(err, os.ErrNotExist) {
				told, err = false, nil
			}
			if err != nil {
				return err
			}
			left := newCounter(c.n)
			if err := runConsumer(ctx, t, bus.Subscription{Topics: []string{topic}, Group: group, Ordered: true, MaxInFlight: 2000},
				bus.Options{Concurrency: workers, Inbox: c.box}, left, route(c)(left)); err != nil || !told {
				return err
			}
			after, err := c.t.processors(ctx)
			*spent = append(*spent, float64((after-before).Nanoseconds())/1000/float64(c.n))
			return err
		})
	}
	var spent [2][]float64
	if err := s.compare(ctx, line{Case: name, Unit: "msg/s", PeerName: peer}, goal{ratioAtLeast, 0.95, 1}, spending(without, &spent[0]), spending(with, &spent[1])); err != nil || !told {
		return err
	}
	warm := pick(s.bench, 1, 0)
	return s.against(line{Case: name + "/cpu", Unit: "µs/msg", PeerName: peer}, goal{ratioAtMost, 1.05, 1}, spent[0][warm:], spent[1][warm:])
}

// withoutParking is an inbox that knows no lines: it records, and does not ask whether a key is parked.
type withoutParking struct{ inbox.Store }

func (withoutParking) Parking() inbox.Parking { return nil }

func (w withoutParking) Record(ctx context.Context, tx sqltx.Tx, consumer string, recs []inbox.Record) ([]inbox.Verdict, error) {
	if len(recs) > 1 { // what has no key waits behind nothing, and which of them came twice is asked in any case
		without := slices.Clone(recs)
		for i := range without {
			without[i].Key = ""
		}
		return w.Store.Record(ctx, tx, consumer, without)
	}
	n, err := tx.Exec(ctx, "INSERT INTO sixfold.inbox (consumer, message, digest, state) VALUES ($1, $2, $3, 1) ON CONFLICT DO NOTHING", consumer, recs[0].Message[:], recs[0].Digest[:])
	if err == nil && n == 0 {
		err = errors.New("a message came twice")
	}
	return make([]inbox.Verdict, 1), err
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
		return inbox.OnBatch(box, func(ctx context.Context, tx pgx.Tx, orders []order) error {
			left.count(len(orders))
			var b pgx.Batch
			for _, o := range orders {
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
	if err := s.alone(l, goal{}, results[0]); err != nil { // one by one the inbox itself does no more: see parking
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
