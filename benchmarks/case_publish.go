package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// The peer of all of these is the business transaction alone: pool, BeginTx, one INSERT, Commit.

func publishOne(ctx context.Context, s *scope) error {
	server, err := s.fast(ctx)
	if err != nil {
		return err
	}
	return publishBeside(ctx, s, server, 8, goal{ratioAtLeast, 0.72, 0.80}, "")
}

func publishOneFsync(ctx context.Context, s *scope) error {
	server, err := s.slowFlush(ctx)
	if err != nil {
		return err
	}
	return publishBeside(ctx, s, server, 32, goal{ratioAtLeast, 0.80, 0.88},
		"commit_delay=2000, commit_siblings=0 stands in for a flush of 2 ms")
}

// publishBeside measures Publish in the caller's transaction, and River's InsertTx for information.
func publishBeside(ctx context.Context, s *scope, server *servers.PostgresServer, conns int, g goal, note string) error {
	t, err := s.newTables(ctx, server, conns)
	if err != nil {
		return err
	}
	jobs, err := riverInserter(ctx, t)
	if err != nil {
		return err
	}
	alone := t.transactions(s, conns, business)
	published := t.transactions(s, conns, func(ctx context.Context, tx pgx.Tx, o order) error {
		if err := business(ctx, tx, o); err != nil {
			return err
		}
		_, err := t.box.Publish(ctx, sqltx.Pgx(tx), o)
		return err
	})
	inserted := t.transactions(s, conns, func(ctx context.Context, tx pgx.Tx, o order) error {
		if err := business(ctx, tx, o); err != nil {
			return err
		}
		_, err := jobs.InsertTx(ctx, tx, orderJob{o}, nil)
		return err
	})
	results, err := s.interleaved(ctx, alone, published, inserted)
	if err != nil {
		return err
	}
	if err := s.against(line{Case: s.name, Unit: "tx/s", PeerName: "business only", Note: note}, g, results[0], results[1]); err != nil {
		return err
	}
	return s.against(line{Case: s.name + "/river", Unit: "tx/s", PeerName: "business only", Note: "value is River's InsertTx, for information"},
		goal{}, results[0], results[2])
}

func publishFive(ctx context.Context, s *scope) error {
	const conns, messages = 8, 5
	t, err := s.onFast(ctx, conns)
	if err != nil {
		return err
	}
	alone := t.transactions(s, conns, business)
	published := t.transactions(s, conns, func(ctx context.Context, tx pgx.Tx, o order) error {
		if err := business(ctx, tx, o); err != nil {
			return err
		}
		items := make([]outbox.Item, messages)
		for i := range items {
			items[i] = outbox.Of(o)
		}
		_, err := t.box.PublishAll(ctx, sqltx.Pgx(tx), items...)
		return err
	})
	united := t.units(s, conns, messages)
	results, err := s.interleaved(ctx, alone, published, united)
	if err != nil {
		return err
	}
	g := goal{ratioAtLeast, 0.50, 0.55}
	if err := s.against(line{Case: s.name, Unit: "tx/s", PeerName: "business only", Note: "PublishAll in the caller's transaction"}, g, results[0], results[1]); err != nil {
		return err
	}
	return s.against(line{Case: s.name + "/unit", Unit: "tx/s", PeerName: "business only", Note: "five in a unit of work"}, g, results[0], results[2])
}

func publishUnit(ctx context.Context, s *scope) error {
	const conns = 8
	t, err := s.onFast(ctx, conns)
	if err != nil {
		return err
	}
	return s.compare(ctx, line{Case: s.name, Unit: "tx/s", PeerName: "business only"}, goal{ratioAtLeast, 0.72, 0.80},
		t.transactions(s, conns, business), t.units(s, conns, 1))
}

// transactions is an arm: transactions a second of conns connections that do what fn does.
func (t *tables) transactions(s *scope, conns int, fn func(ctx context.Context, tx pgx.Tx, o order) error) arm {
	return t.written(s, conns, func(ctx context.Context, n int) error {
		o := makeOrder(n, "")
		return t.inTx(ctx, func(tx pgx.Tx) error { return fn(ctx, tx, o) })
	})
}

// units is an arm: units of work with the business's row and so many messages.
func (t *tables) units(s *scope, conns, messages int) arm {
	return t.written(s, conns, func(ctx context.Context, n int) error {
		o := makeOrder(n, "")
		return outbox.Do(ctx, t.box, t.db, func(ctx context.Context, tx pgx.Tx, u *outbox.Unit) error {
			for range messages {
				u.Publish(o)
			}
			return business(ctx, tx, o)
		})
	})
}

// written is an arm on empty tables.
func (t *tables) written(s *scope, conns int, do func(ctx context.Context, n int) error) arm {
	return func(ctx context.Context) (float64, error) {
		if err := t.clear(ctx, "business", "sixfold.outbox"); err != nil {
			return 0, err
		}
		return perSecond(ctx, conns, pick(s.bench, 3*time.Second, 100*time.Millisecond), do)
	}
}

// riverInserter is a River client that only inserts, on the same pool.
func riverInserter(ctx context.Context, t *tables) (*river.Client[pgx.Tx], error) {
	if err := riverTables(ctx, t.pool); err != nil {
		return nil, err
	}
	return river.NewClient(riverpgxv5.New(t.pool), &river.Config{Logger: silent()})
}
