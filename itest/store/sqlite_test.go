package store

import (
	"database/sql"
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
			storetest.Run(t, func(t *testing.T) storetest.Opened {
				db := sqltx.StdDB(sqliteFile(t, filepath.Join(t.TempDir(), "test.db"), sqliteSettings))
				st, err := store.SQLite(db, opts)
				if err != nil {
					t.Fatal(err)
				}
				if err := st.Migrate(t.Context()); err != nil {
					t.Fatal(err)
				}
				return storetest.Opened{Outbox: st.Outbox(), Inbox: st.Inbox(), DB: db, OneWriter: true, Keeps: opts != nil}
			})
		})
	}
}
