package main

import (
	"context"
	"database/sql"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/libtest"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestProgram(t *testing.T) { libtest.Program(t, run) } // guarantees: O1, I1

func TestOneTransaction(t *testing.T) {
	dsn := roles.Service(t, servers.Postgres(t).Database(t))
	sqlDB, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer sqlDB.Close()
	libtest.Run(t, dsn, libtest.Library[bun.Tx]{
		DB: bunDB(bun.NewDB(sqlDB, pgdialect.New())),
		Insert: func(ctx context.Context, tx bun.Tx, order string) error {
			_, err := tx.NewInsert().Model(&Order{ID: order}).Exec(ctx)
			return err
		},
		Nested: func(ctx context.Context, tx bun.Tx, fn func(bun.Tx) error) error {
			return tx.RunInTx(ctx, nil, func(_ context.Context, tx bun.Tx) error { return fn(tx) })
		},
	})
}
