// Package store tests package store on real databases.
package store

import (
	"database/sql"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) { servers.Main(m) }

// pool opens a pgx pool on a new database.
func pool(t testing.TB, dsn string) *pgxpool.Pool {
	t.Helper()
	p, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// std opens a *sql.DB on a new database.
func std(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// granted is a store with its tables on a new PostgreSQL database. Its pool, the first one, has the grants of an application, a
// relay and a reader and no others; the second is the superuser's.
func granted(t testing.TB, opts *store.Options) (st *store.Store, p, super *pgxpool.Pool) {
	t.Helper()
	as := roles.On(t, servers.Postgres(t).Database(t), opts)
	p, super = pool(t, as.All), pool(t, as.Superuser)
	st, err := store.Postgres(sqltx.PgxDB(p), opts)
	if err != nil {
		t.Fatal(err)
	}
	return st, p, super
}

// migrated is the same for tests of migrations: all is done by the owner of the tables.
func migrated(t testing.TB, opts *store.Options) (*store.Store, *pgxpool.Pool) {
	t.Helper()
	p := pool(t, servers.Postgres(t).Database(t))
	st, err := store.Postgres(sqltx.PgxDB(p), opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st, p
}
