package main

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

var errHandler = errors.New("torture: the handler fails on purpose")

// billing handles one Order and follows every second one by a Note, which a relay brings.
func (c *consumers) billing(ctx context.Context, tx pgx.Tx, m Order) error {
	return c.handle(ctx, tx, "billing", []Order{m}, func(ctx context.Context, m Order) error {
		if m.N%2 != 0 {
			return nil
		}
		_, err := c.out.Publish(ctx, sqltx.Pgx(tx), Note(m))
		return err
	})
}

// shipping handles Orders in batches.
func (c *consumers) shipping(ctx context.Context, tx pgx.Tx, ms []Order) error {
	return c.handle(ctx, tx, "shipping", ms, nil)
}

// audit finds its Orders in the database, and follows every fourth by a Mark, which stays there.
func (c *consumers) audit(ctx context.Context, tx pgx.Tx, m Order) error {
	return c.handle(ctx, tx, "audit", []Order{m}, func(ctx context.Context, m Order) error {
		if m.N%4 != 0 {
			return nil
		}
		_, err := c.out.Publish(ctx, sqltx.Pgx(tx), Mark(m))
		return err
	})
}

func (c *consumers) notes(ctx context.Context, tx pgx.Tx, ms []Note) error {
	return c.handle(ctx, tx, "notes", orders(ms), nil)
}

func (c *consumers) marks(ctx context.Context, tx pgx.Tx, ms []Mark) error {
	return c.handle(ctx, tx, "marks", orders(ms), nil)
}

func orders[M Note | Mark](ms []M) []Order {
	out := make([]Order, len(ms))
	for i := range ms {
		out[i] = Order(ms[i])
	}
	return out
}

// handle has the effects of ms, fails now and then, and kills the process when it was told to, or by poison.
func (c *consumers) handle(ctx context.Context, tx pgx.Tx, consumer string, ms []Order, follow func(context.Context, Order) error) error {
	envs := envelopes(ctx)
	if len(envs) != len(ms) {
		return sixfold.Permanent(fmt.Errorf("torture: the handler got %d messages with %d envelopes", len(ms), len(envs)))
	}
	keys, numbers, ids := make([]string, len(ms)), make([]int64, len(ms)), make([]string, len(ms))
	for i, m := range ms {
		if m.Poison == consumer {
			c.event(eventPoison, consumer, 1)
			killSelf()
		}
		keys[i], numbers[i], ids[i] = m.Key, m.N, envs[i].ID
	}
	// The order of a batch is kept by the ORDER BY below the insert.
	_, err := tx.Exec(ctx, `INSERT INTO effect (consumer, key, n, msg) SELECT $1, u.key, u.n, u.msg
  FROM unnest($2::text[], $3::bigint[], $4::text[]::uuid[]) WITH ORDINALITY u(key, n, msg, i) ORDER BY u.i`, consumer, keys, numbers, ids)
	if err != nil {
		return err
	}
	for i, m := range ms {
		if follow != nil {
			if err := follow(ctx, m); err != nil {
				return err
			}
		}
		if err := c.trouble(ctx, consumer, envs[i].ID); err != nil {
			return err
		}
	}
	if c.inTx.CompareAndSwap(true, false) {
		c.event(eventKillInTx, consumer, len(ms))
		killSelf()
	}
	return nil
}

// trouble fails the first attempt of three messages in a hundred, and makes one in a hundred meet, once, what looks like
// the infrastructure's own failure.
func (c *consumers) trouble(ctx context.Context, consumer, id string) error {
	h := fnv.New32a()
	fmt.Fprint(h, c.Options.Seed, consumer, id)
	draw := h.Sum32() % 200
	info := sixfold.InfoFrom(ctx)
	switch {
	case draw < 6 && info.Attempt == 1 && !info.Redelivered:
		return errHandler
	case draw == 6 || draw == 7:
		if _, before := c.passed.LoadOrStore(consumer+id, true); before {
			return nil
		}
		if draw == 6 {
			return fmt.Errorf("torture: on purpose: %w", bus.ErrUnavailable)
		}
		return &pgconn.PgError{Severity: "ERROR", Code: "40001", Message: "on purpose"}
	}
	return nil
}

// buried writes a dead letter down. A driver may keep its headers from who reads dead letters; then poison alone is known.
func (c *consumers) buried(ctx context.Context, tx pgx.Tx, m Order) error {
	env := sixfold.InfoFrom(ctx).Envelope
	of := env.Headers[bus.DeadConsumer]
	if of == "" {
		of = m.Poison
	}
	_, err := tx.Exec(ctx, "INSERT INTO dead (consumer, key, n, msg) VALUES ($1, $2, $3, $4::text::uuid)", of, m.Key, m.N, env.ID)
	return err
}

func envelopes(ctx context.Context) []*sixfold.Envelope {
	info := sixfold.InfoFrom(ctx)
	if info.Envelopes != nil {
		return info.Envelopes
	}
	return []*sixfold.Envelope{info.Envelope}
}
