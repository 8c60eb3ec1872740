package store

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/itest/tables"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/store/storetest"
)

// readCommitted is the DSN parameter that the store wants.
const readCommitted = "tx_isolation=%27READ-COMMITTED%27"

// mysqlDB opens a *sql.DB with parameters added to its DSN.
func mysqlDB(t testing.TB, dsn string, params ...string) *sql.DB {
	t.Helper()
	db, err := sql.Open("mysql", dsn+"?"+strings.Join(params, "&"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// onMariaDB is a store with its tables on a new MariaDB database.
func onMariaDB(t testing.TB, opts *store.Options, params ...string) (*store.Store, *sql.DB) {
	t.Helper()
	db := mysqlDB(t, servers.MariaDB(t).Database(t), append([]string{readCommitted, "interpolateParams=true"}, params...)...)
	st, err := store.MySQL(sqltx.StdDB(db), opts)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	return st, db
}

func TestMariaDB(t *testing.T) {
	for _, c := range []struct {
		name   string
		opts   store.Options
		params []string
	}{
		{"Interpolated", store.Options{Prefix: "p"}, []string{readCommitted, "interpolateParams=true", "parseTime=true", "clientFoundRows=true", "time_zone=%27-05:30%27"}},
		{"Prepared", store.Options{Prefix: "Odd Имя select ", KeepDelivered: time.Hour}, []string{readCommitted}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if testing.Short() && c.name == "Prepared" {
				t.Skip("the same once more, with other parameters")
			}
			dsn := servers.MariaDB(t).Database(t)
			db, aside := mysqlDB(t, dsn, c.params...), mysqlDB(t, dsn)
			runner := sqltx.StdDB(db)
			st, err := store.MySQL(runner, &c.opts)
			must(t, err)
			must(t, st.Migrate(t.Context()))
			storetest.Run(t, func(t *testing.T) storetest.Opened {
				empty(t, aside, c.opts.Prefix) // making a dozen tables for each case takes a second
				return storetest.Opened{Outbox: st.Outbox(), Inbox: st.Inbox(), Schedule: st.Schedule(), Saga: st.Sagas(), DB: runner, Keeps: c.opts.KeepDelivered > 0,
					Blocked: func(ctx context.Context) error { return untilMariaBlocked(ctx, aside) }}
			})
		})
	}
}

// empty removes all rows of a store's tables, in one transaction.
func empty(t testing.TB, db *sql.DB, prefix string) {
	t.Helper()
	must(t, sqltx.StdDB(db).InTx(t.Context(), func(tx sqltx.Tx) error {
		for _, table := range tables.Names() {
			if _, err := tx.Exec(t.Context(), "DELETE FROM `"+prefix+table+"`"); err != nil {
				return err
			}
		}
		return nil
	}))
}

// untilMariaBlocked asks the server until a transaction waits for another one's lock. Tables such as INNODB_TRX show what
// was a tenth of a second ago, and the same as long as they are asked all the time.
func untilMariaBlocked(ctx context.Context, db *sql.DB) error {
	for {
		waiting := 0
		err := db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'").Scan(new(string), &waiting)
		if err != nil || waiting > 0 {
			return err
		}
	}
}
