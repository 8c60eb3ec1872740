package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// One store for one set of tables. Migrate is the program's to call.
func ExampleSQLite() {
	open := func(ctx context.Context) (*store.Store, error) {
		db, err := sql.Open("sqlite", "file:app.db?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
		if err != nil {
			return nil, err
		}
		st, err := store.SQLite(sqltx.StdDB(db), nil)
		if err != nil {
			return nil, err
		}
		return st, st.Migrate(ctx)
	}
	_ = open
}

// Status changes nothing: a deployment can ask first.
func ExampleMigrations_Status() {
	pending := func(ctx context.Context, st *store.Store) error {
		all, err := st.Migrations().Status(ctx)
		if err != nil {
			return err
		}
		for _, m := range all {
			fmt.Printf("%04d_%s applied=%v %s\n", m.Version, m.Name, m.Applied, m.Problem)
		}
		return nil
	}
	_ = pending
}

// Everything that is wrong is said at once, before the database is asked.
func ExamplePostgres() {
	_, err := store.Postgres(nil, &store.Options{Schema: "messages.v2", Prefix: strings.Repeat("long_", 10), KeepDelivered: -time.Hour})
	fmt.Println(err)
	// Output:
	// store: option Schema "messages.v2": it contains a dot; give the schema in Schema and the beginning of the table names in Prefix
	// store: option Prefix "long_long_long_long_long_long_long_long_long_long_": it has 50 bytes, the limit is 42 ("outbox_count_suspects" follows it, and a name has at most 63); shorten it
	// store: the database is nil; pass sqltx.PgxDB(pool) or sqltx.StdDB(db)
	// store: option KeepDelivered -1h0m0s: it is negative; give how long delivered rows are kept, or 0 to delete them
}
