// Package mediatortest shows the mediator's transactions on PostgreSQL.
package mediatortest

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/mediator"
	"github.com/sixfold-go/sixfold/middleware"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	servers.Main(m)
}

type create struct {
	sixfold.Returns[int64] `json:"-"`

	ID   string
	Fail error `json:"-"`
}

func (create) MessageName() string { return "orders.create" }

type created struct{ ID string }

func (created) MessageName() string  { return "orders.created" }
func (c created) MessageKey() string { return c.ID }

var errMine = errors.New("mine")

// On both kinds of DB, with CommitWith and without: the order, the message of its handler and the one of a notification
// commit together, or none does.
//
// guarantees: O1
func TestCommandNotificationAndOutboxCommitTogether(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), roles.Service(t, servers.Postgres(t).Database(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE orders (id text PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	st, err := store.Postgres(postgres.DB(pool), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", created{}))
	if err != nil {
		t.Fatal(err)
	}
	for name, db := range map[string]sqltx.DB[pgx.Tx]{"postgres": postgres.DB(pool), "pgx": sqltx.PgxDB(pool)} {
		t.Run(name, func(t *testing.T) {
			if _, err := pool.Exec(t.Context(), "DELETE FROM sixfold.outbox; DELETE FROM orders"); err != nil {
				t.Fatal(err)
			}
			commits := 0
			tx, err := middleware.NewTransaction(db, &middleware.TransactionOptions{Committed: func() { commits++; box.Committed() }})
			if err != nil {
				t.Fatal(err)
			}
			m := newMediator(t, tx, box)
			for id, fail := range map[string]error{"o-1": nil, "o-2": errMine, "o-3": nil} {
				n, err := mediator.Send(t.Context(), m, create{ID: id, Fail: fail})
				if !errors.Is(err, fail) || (n == 1) != (fail == nil) {
					t.Errorf("%s: %d rows, %v", id, n, err)
				}
			}
			_, err = mediator.Send(t.Context(), m, create{ID: "o-1"}) // the database refuses it
			if err == nil {
				t.Error("the same order twice")
			}
			ended, end := context.WithCancel(t.Context())
			end()
			if _, err := mediator.Send(ended, m, create{ID: "o-4"}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			var orders, messages int
			if err := pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM orders), (SELECT count(*) FROM sixfold.outbox)").Scan(&orders, &messages); err != nil {
				t.Fatal(err)
			}
			if orders != 2 || messages != 4 || commits != 2 {
				t.Errorf("%d orders, %d messages, %d commits", orders, messages, commits)
			}
		})
	}
}

func newMediator(t *testing.T, tx *middleware.Transaction[pgx.Tx], box *outbox.Outbox) *mediator.Mediator {
	t.Helper()
	var m *mediator.Mediator
	m, err := mediator.New(&mediator.Options{Commands: []sixfold.Middleware{middleware.Recover(), tx.Middleware()}},
		mediator.OnCommand(middleware.InTxResult(tx, func(ctx context.Context, tx pgx.Tx, c create) (int64, error) {
			tag, err := tx.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", c.ID)
			if err != nil {
				return 0, err
			}
			if _, err := box.Publish(ctx, sqltx.Pgx(tx), created{c.ID}); err != nil {
				return 0, err
			}
			if err := mediator.Publish(ctx, m, created{c.ID}, mediator.InOrder); err != nil {
				return 0, err
			}
			if c.Fail != nil {
				return 0, c.Fail
			}
			return tag.RowsAffected(), nil
		})),
		mediator.OnNotification(middleware.InTx(tx, func(ctx context.Context, tx pgx.Tx, n created) error { // forwards it
			_, err := box.Publish(ctx, sqltx.Pgx(tx), n)
			return err
		})))
	if err != nil {
		t.Fatal(err)
	}
	return m
}
