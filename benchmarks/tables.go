package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// businessTable is what a business transaction writes to, and what a handler's effect is.
const (
	businessTable  = "CREATE TABLE business (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, number text NOT NULL, customer text NOT NULL, cents bigint NOT NULL)"
	businessInsert = "INSERT INTO business (number, customer, cents) VALUES ($1, $2, $3)"
)

// tables is a new database with Sixfold's tables and the business's own.
type tables struct {
	pool *pgxpool.Pool
	db   sqltx.DB[pgx.Tx] // of package postgres
	st   *store.Store
	box  *outbox.Outbox // to the broker
	to   *outbox.Outbox // to the local consumer of the same name as the topic
}

// silent is a logger that says nothing: what is measured is not the terminal.
func silent() *slog.Logger { return slog.New(slog.DiscardHandler) }

// newTables makes a database on server and a pool of exactly conns connections. Both end with the case.
func (s *scope) newTables(ctx context.Context, server *servers.PostgresServer, conns int) (*tables, error) {
	dsn, err := server.CreateDatabase(ctx, s.name)
	if err != nil {
		return nil, err
	}
	s.atEnd(func() error { return server.DropDatabase(context.WithoutCancel(ctx), dsn) })
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	config.MaxConns, config.MinConns = int32(conns), int32(conns)
	t := &tables{}
	if t.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, err
	}
	s.atEnd(func() error { t.pool.Close(); return nil })
	t.db = postgres.DB(t.pool)
	if t.st, err = store.Postgres(t.db, nil); err != nil {
		return nil, err
	}
	if err := t.st.Migrate(ctx); err != nil {
		return nil, err
	}
	if _, err := t.pool.Exec(ctx, businessTable); err != nil {
		return nil, err
	}
	if t.box, err = outbox.New(t.st.Outbox(), nil, outbox.To(topic, order{})); err != nil {
		return nil, err
	}
	t.to, err = outbox.New(t.st.Outbox(), nil, outbox.ToConsumer(topic, order{}))
	return t, err
}

// onFast is newTables on the server with default durability.
func (s *scope) onFast(ctx context.Context, conns int) (*tables, error) {
	server, err := s.fast(ctx)
	if err != nil {
		return nil, err
	}
	return s.newTables(ctx, server, conns)
}

// clear empties tables of the schema and of the business, so that rounds do not grow on each other's rows.
func (t *tables) clear(ctx context.Context, names ...string) error {
	for _, name := range names {
		if _, err := t.pool.Exec(ctx, "TRUNCATE "+name); err != nil {
			return fmt.Errorf("clear %s: %w", name, err)
		}
	}
	return nil
}

// inTx runs fn in a transaction as a user of pgx writes it.
func (t *tables) inTx(ctx context.Context, fn func(tx pgx.Tx) error) error {
	tx, err := t.pool.BeginTx(ctx, pgx.TxOptions{})
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx)) // fn's failure is the reason
		return err
	}
	return tx.Commit(ctx)
}

// business writes the row that a business transaction is about.
func business(ctx context.Context, tx pgx.Tx, o order) error {
	_, err := tx.Exec(ctx, businessInsert, o.Number, o.Customer, o.Cents)
	return err
}

// fillStep is how many rows go to the database at once.
const fillStep = 1000

// fill commits n messages in one transaction.
func (t *tables) fill(ctx context.Context, box *outbox.Outbox, n int, key func(i int) string) error {
	err := t.inTx(ctx, func(tx pgx.Tx) error {
		for from := 0; from < n; from += fillStep {
			items := make([]outbox.Item, 0, fillStep)
			for i := from; i < min(n, from+fillStep); i++ {
				items = append(items, outbox.Of(makeOrder(i, key(i))))
			}
			if _, err := box.PublishAll(ctx, sqltx.Pgx(tx), items...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("fill the outbox: %w", err)
	}
	box.Committed()
	return nil
}

// fillGaps commits n messages with a number that stays free after every ninth, as of a transaction that was rolled back.
func (t *tables) fillGaps(ctx context.Context, n int) error {
	const run, statements = 9, 100
	for from := 0; from < n; {
		var batch pgx.Batch
		for range statements {
			for range run {
				if from == n {
					break
				}
				st, _, err := t.box.Prepare(ctx, makeOrder(from, ""))
				if err != nil {
					return fmt.Errorf("fill the outbox: %w", err)
				}
				batch.Queue(st.SQL, st.Args...)
				from++
			}
			batch.Queue("SELECT nextval('sixfold.outbox_seq')")
		}
		err := t.inTx(ctx, func(tx pgx.Tx) error { return tx.SendBatch(ctx, &batch).Close() })
		if err != nil {
			return fmt.Errorf("fill the outbox: %w", err)
		}
	}
	return nil
}
