package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// handInbox records a batch as a user would by hand: no parked keys, no second look at an id that was used before.
const handInbox = `INSERT INTO sixfold.inbox (consumer, message, digest, state)
	SELECT $1, u.message, u.digest, 1 FROM unnest($2::bytea[], $3::bytea[]) u(message, digest) ON CONFLICT DO NOTHING RETURNING message`

// inboxBatch compares OnBatch with a loop by hand. Both take batches of 100 from the broker in the process with four
// transactions at a time, and write one row for each message, one statement after the other.
func inboxBatch(ctx context.Context, s *scope) error {
	const workers, batch = 4, 100
	c, err := s.newInboxCase(ctx, workers, pick(s.bench, 40_000, 400))
	if err != nil {
		return err
	}
	route := func(effects func(ctx context.Context, tx pgx.Tx, os []order) error) func(*counter) sixfold.Route {
		return func(left *counter) sixfold.Route {
			r := inbox.OnBatch(c.box, func(ctx context.Context, tx pgx.Tx, os []order) error {
				left.count(len(os))
				return effects(ctx, tx, os)
			})
			r.BatchSize = batch
			return r
		}
	}
	one := route(func(ctx context.Context, tx pgx.Tx, os []order) error {
		for _, o := range os {
			if err := business(ctx, tx, o); err != nil {
				return err
			}
		}
		return nil
	})
	queued := route(func(ctx context.Context, tx pgx.Tx, os []order) error {
		var b pgx.Batch
		for _, o := range os {
			b.Queue(businessInsert, o.Number, o.Customer, o.Cents)
		}
		return tx.SendBatch(ctx, &b).Close()
	})
	results, err := s.interleaved(ctx, c.byHand(workers, batch), c.consumer(workers, one), c.consumer(workers, queued))
	if err != nil {
		return err
	}
	l := line{Case: s.name, Unit: "msg/s", PeerName: "by hand: inbox by unnest, effects one by one"}
	if err := s.against(l, goal{ratioAtLeast, 0.80, 0.95}, results[0], results[1]); err != nil {
		return err
	}
	l.Case, l.Note = s.name+"/queued", "effects in one pgx.Batch; the moonshot is 1.5"
	return s.against(l, goal{}, results[0], results[2])
}

// inboxEach compares On with a loop by hand, one transaction for each message, with eight workers.
func inboxEach(ctx context.Context, s *scope) error {
	const workers = 8
	c, err := s.newInboxCase(ctx, workers, pick(s.bench, 15_000, 200))
	if err != nil {
		return err
	}
	route := func(left *counter) sixfold.Route {
		return inbox.On(c.box, func(ctx context.Context, tx pgx.Tx, o order) error {
			left.count(1)
			return business(ctx, tx, o)
		})
	}
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: "by hand, 8 workers"}, goal{ratioAtLeast, 0.90, 1},
		c.byHand(workers, 1), c.consumer(workers, route))
}

// inboxCase is what both have in common.
type inboxCase struct {
	t   *tables
	box *inbox.Box[pgx.Tx]
	n   int
}

func (s *scope) newInboxCase(ctx context.Context, workers, n int) (*inboxCase, error) {
	t, err := s.onFast(ctx, workers+2) // the inbox looks after itself on a connection of its own
	if err != nil {
		return nil, err
	}
	box, err := inbox.New(t.db, t.st.Inbox(), &inbox.Options{Logger: silent()})
	return &inboxCase{t, box, n}, err
}

// loaded is an arm over a broker that has all messages, and tables that have none; afterwards each has its effect.
func (c *inboxCase) loaded(take func(ctx context.Context, t bus.Transport) error) arm {
	return func(ctx context.Context) (v float64, err error) {
		if err := c.t.clear(ctx, "business", "sixfold.inbox"); err != nil {
			return 0, err
		}
		t := memory.New(&memory.Options{Topics: []string{topic}, MaxPending: c.n})
		defer func() { err = errors.Join(err, t.Close(ctx)) }()
		envs, err := envelopes(ctx, c.n, keysOf(1000))
		if err != nil {
			return 0, err
		}
		if err := sendAll(ctx, t, envs); err != nil {
			return 0, err
		}
		runtime.GC()
		start := time.Now()
		if err := take(ctx, t); err != nil {
			return 0, err
		}
		v = rate(c.n, start)
		var effects int
		if err := c.t.pool.QueryRow(ctx, "SELECT count(*) FROM business").Scan(&effects); err != nil {
			return 0, err
		}
		if effects != c.n {
			return 0, fmt.Errorf("%d messages had %d effects", c.n, effects)
		}
		return v, nil
	}
}

func (c *inboxCase) consumer(workers int, route func(*counter) sixfold.Route) arm {
	return c.loaded(func(ctx context.Context, t bus.Transport) error {
		left := newCounter(c.n)
		return runConsumer(ctx, t, bus.Subscription{Topics: []string{topic}, Group: group, Ordered: true, MaxInFlight: 2000},
			bus.Options{Concurrency: workers, Inbox: c.box}, left, route(left))
	})
}

func (c *inboxCase) byHand(workers, batch int) arm {
	return c.loaded(func(ctx context.Context, t bus.Transport) error {
		return byHand(ctx, t, workers, batch, c.n, func(ctx context.Context, ds []*bus.Delivery) error {
			return c.t.inTx(ctx, func(tx pgx.Tx) error { return handleByHand(ctx, tx, ds) })
		})
	})
}

// handleByHand records deliveries and writes the effects of those that are new.
func handleByHand(ctx context.Context, tx pgx.Tx, ds []*bus.Delivery) error {
	ids, digests := make([][]byte, len(ds)), make([][]byte, len(ds))
	at := make(map[[16]byte]*bus.Delivery, len(ds))
	for i, d := range ds {
		id, digest := sha256.Sum256([]byte(d.ID)), sha256.Sum256(d.Body)
		ids[i], digests[i] = id[:16], digest[:16]
		at[[16]byte(ids[i])] = d
	}
	rows, err := tx.Query(ctx, handInbox, group, ids, digests)
	if err != nil {
		return err
	}
	first, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return err
	}
	for _, id := range first {
		var o order
		if err := json.Unmarshal(at[[16]byte(id)].Body, &o); err != nil {
			return err
		}
		if err := business(ctx, tx, o); err != nil {
			return err
		}
	}
	return nil
}
