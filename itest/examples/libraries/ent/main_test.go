package main

import (
	"context"
	"database/sql"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/ent/ent"
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
	libtest.Run(t, dsn, libtest.Library[*ent.Tx]{
		DB: entDB(ent.NewClient(ent.Driver(entsql.OpenDB(dialect.Postgres, sqlDB)))),
		Insert: func(ctx context.Context, tx *ent.Tx, order string) error {
			return tx.Order.Create().SetID(order).Exec(ctx)
		},
	})
}
