package main

import (
	"context"
	"database/sql"
	"testing"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/libtest"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/sqlcstd/db"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
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
	libtest.Run(t, dsn, libtest.Library[*sql.Tx]{
		DB:     sqltx.StdDB(sqlDB),
		Insert: func(ctx context.Context, tx *sql.Tx, order string) error { return db.New(tx).PlaceOrder(ctx, order) },
	})
}
