package main

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/libtest"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/sqlcpgx/db"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestProgram(t *testing.T) { libtest.Program(t, run) } // guarantees: O1, I1

// With the DB of package postgres and with that of the root module.
func TestOneTransaction(t *testing.T) {
	for name, open := range map[string]func(*pgxpool.Pool) sqltx.DB[pgx.Tx]{
		"postgres.DB": postgres.DB,
		"sqltx.PgxDB": func(pool *pgxpool.Pool) sqltx.DB[pgx.Tx] { return sqltx.PgxDB(pool) },
	} {
		t.Run(name, func(t *testing.T) {
			dsn := roles.Service(t, servers.Postgres(t).Database(t))
			pool, err := pgxpool.New(t.Context(), dsn)
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			libtest.Run(t, dsn, libtest.Library[pgx.Tx]{
				DB:     open(pool),
				Insert: func(ctx context.Context, tx pgx.Tx, order string) error { return db.New(tx).PlaceOrder(ctx, order) },
				Nested: func(ctx context.Context, tx pgx.Tx, fn func(pgx.Tx) error) error { return pgx.BeginFunc(ctx, tx, fn) },
			})
		})
	}
}
