package main

import (
	"testing"

	"github.com/jmoiron/sqlx"

	"github.com/sixfold-go/sixfold/itest/examples/libraries/libtest"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestProgram(t *testing.T) { libtest.Program(t, run) } // guarantees: O1, I1

func TestOneTransaction(t *testing.T) {
	dsn := roles.Service(t, servers.Postgres(t).Database(t))
	db, err := sqlx.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	libtest.Run(t, dsn, libtest.Library[*sqlx.Tx]{DB: sqlxDB(db), Insert: insert})
}
