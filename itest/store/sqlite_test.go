package store

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/store/storetest"
)

const sqliteSettings = "?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"

func sqliteFile(t testing.TB, path, settings string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func TestSQLite(t *testing.T) {
	for name, opts := range map[string]*store.Options{"Deleting": nil, "Keeping": {KeepDelivered: time.Hour, Prefix: "select Имя "}} {
		t.Run(name, func(t *testing.T) {
			// Making the tables for each case would take longer than the case: they are made once, in a file that is copied.
			made := filepath.Join(t.TempDir(), "made.db")
			first := sqliteFile(t, made, sqliteSettings)
			st, err := store.SQLite(sqltx.StdDB(first), opts)
			must(t, err)
			must(t, st.Migrate(t.Context()))
			must(t, first.Close()) // which leaves no log beside the file
			tables, err := os.ReadFile(made)
			must(t, err)
			storetest.Run(t, func(t *testing.T) storetest.Opened {
				path := filepath.Join(t.TempDir(), "test.db")
				must(t, os.WriteFile(path, tables, 0o600))
				db := sqltx.StdDB(sqliteFile(t, path, sqliteSettings))
				st, err := store.SQLite(db, opts)
				must(t, err)
				return storetest.Opened{Outbox: st.Outbox(), Inbox: st.Inbox(), Schedule: st.Schedule(), Saga: st.Sagas(), DB: db, OneWriter: true, Keeps: opts != nil}
			})
		})
	}
}
