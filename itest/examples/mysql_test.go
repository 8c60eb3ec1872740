package examples

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// openMariaDB opens the store of a database, with its tables.
func openMariaDB(ctx context.Context, sqlDB *sql.DB) (*store.Store, error) {
	db := sqltx.StdDB(sqlDB)
	st, err := store.MySQL(db, nil)
	if err != nil {
		return nil, err
	}
	return st, st.Migrate(ctx)
}

// The SQL of the page about MySQL runs, with no more than its grants.
func TestMariaDBForOtherWriters(t *testing.T) {
	m := servers.PrivateMariaDB(t, nil)
	open := func(dsn, user string) *sql.DB {
		t.Helper()
		config, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			config.User, config.Passwd, config.DBName = user, "x", "shop"
		}
		config.Params = map[string]string{"tx_isolation": "'READ-COMMITTED'"}
		db, err := sql.Open("mysql", config.FormatDSN())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	root := open(m.DSN(), "")
	run := func(db *sql.DB, text string) {
		t.Helper()
		for s := range strings.SplitSeq(text, ";\n") {
			if strings.TrimSpace(s) == "" {
				continue
			}
			if _, err := db.ExecContext(t.Context(), s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	run(root, "CREATE DATABASE shop;\nCREATE USER shop_owner IDENTIFIED BY 'x';\nCREATE USER shop_service IDENTIFIED BY 'x';\n"+script(t, "grants_mysql.sql"))
	if _, err := openMariaDB(t.Context(), open(m.DSN(), "shop_owner")); err != nil {
		t.Fatal(err)
	}
	service := open(m.DSN(), "shop_service")
	run(service, script(t, "insert_mysql.sql"))
	st, err := store.MySQL(sqltx.StdDB(service), nil)
	if err != nil {
		t.Fatal(err)
	}
	if warnings, err := st.Outbox().Keeper().Check(t.Context()); err != nil || len(warnings) != 0 {
		t.Errorf("%v, %q", err, warnings)
	}
	if got := orders(t, st, outbox.ToBroker, ""); len(got) != 1 || got[0] != "order-1" {
		t.Errorf("the table has the orders %v", got)
	}
	if _, err := st.Outbox().Queue(outbox.ToBroker).Writers(t.Context()); err != nil {
		t.Errorf("a relay cannot look for writers: %v", err)
	}
}
