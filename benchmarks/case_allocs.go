package main

import (
	"context"
	"runtime"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// handInsert is what a user would write who keeps an outbox by hand, in the same table.
const handInsert = "INSERT INTO sixfold.outbox (partition, id, class, topic, key, attrs, body) VALUES ($1, $2, $3, $4, $5, $6, $7)"

// publishAllocs measures what one call allocates, in this process and with all that pgx allocates below it. Direct is one
// Publish in an open transaction; unit is a whole unit of work: BEGIN, one message, COMMIT. The peer does the same with a
// hand-written INSERT of a row that is ready. The context has no end, as in testing.Benchmark: pgx allocates four
// times and 272 bytes more for each round trip below one that can be cancelled, whoever calls it.
func publishAllocs(ctx context.Context, s *scope) error {
	t, err := s.onFast(ctx, 2)
	if err != nil {
		return err
	}
	ctx = context.Background()
	n := pick(s.bench, 20_000, 200)
	o := makeOrder(1, "customer-1")
	env, err := sixfold.NewEnvelope(ctx, "sixfold", nil, o)
	if err != nil {
		return err
	}
	attrs := outbox.EncodeAttrs(env, outbox.Flags{})
	byHand := func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, handInsert, outbox.PartitionOf(o.key), env.ID, "", topic, o.key, attrs, env.Body)
		return err
	}
	inOneTx := func(fn func(ctx context.Context, tx pgx.Tx) error) func() (allocation, error) {
		return func() (a allocation, err error) {
			err = t.inTx(ctx, func(tx pgx.Tx) error {
				a, err = allocated(n, func() error { return fn(ctx, tx) })
				return err
			})
			return a, err
		}
	}
	cases := []struct {
		name          string
		peer, sixfold func() (allocation, error)
		bytes, count  goal
	}{
		{"direct", inOneTx(byHand), inOneTx(func(ctx context.Context, tx pgx.Tx) error {
			_, err := t.box.Publish(ctx, sqltx.Pgx(tx), o)
			return err
		}), goal{valueAtMost, 1500, 1000}, goal{valueAtMost, 20, 10}},
		{"unit", func() (allocation, error) {
			return allocated(n, func() error { return t.inTx(ctx, func(tx pgx.Tx) error { return byHand(ctx, tx) }) })
		}, func() (allocation, error) {
			return allocated(n, func() error {
				return outbox.Do(ctx, t.box, t.db, func(_ context.Context, _ pgx.Tx, u *outbox.Unit) error {
					u.Publish(o)
					return nil
				})
			})
		}, goal{valueAtMost, 2000, 1500}, goal{valueAtMost, 40, 25}},
	}
	for _, c := range cases {
		peer, err := c.peer()
		if err != nil {
			return err
		}
		own, err := c.sixfold()
		if err != nil {
			return err
		}
		name := s.name + "/" + c.name
		l := line{Case: name + "-bytes", Unit: "B", PeerName: "hand-written INSERT"}
		if err := s.against(l, c.bytes, []float64{peer.bytes}, []float64{own.bytes}); err != nil {
			return err
		}
		l = line{Case: name + "-count", Unit: "allocs", PeerName: "hand-written INSERT"}
		if err := s.against(l, c.count, []float64{peer.count}, []float64{own.count}); err != nil {
			return err
		}
	}
	return nil
}

// allocation of one call, on average.
type allocation struct{ bytes, count float64 }

// allocated calls fn n times and answers what each call allocated, as testing.Benchmark counts it: all that the process
// allocates meanwhile.
func allocated(n int, fn func() error) (allocation, error) {
	for range n/10 + 10 { // statements are prepared and pools filled
		if err := fn(); err != nil {
			return allocation{}, err
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		if err := fn(); err != nil {
			return allocation{}, err
		}
	}
	runtime.ReadMemStats(&after)
	return allocation{
		bytes: float64(after.TotalAlloc-before.TotalAlloc) / float64(n),
		count: float64(after.Mallocs-before.Mallocs) / float64(n),
	}, nil
}
