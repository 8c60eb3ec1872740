package flow

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// Random flows on databases that are somebody else's. guarantees: S1, S2, S3, S4
func TestRandomFlowsOnDatabases(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) (driver, dsn string, store func(sqltx.Runner) (*store.Store, error)){
		"PostgreSQL": func(t *testing.T) (string, string, func(sqltx.Runner) (*store.Store, error)) {
			return "pgx", servers.Postgres(t).Database(t), func(db sqltx.Runner) (*store.Store, error) { return store.Postgres(db, nil) }
		},
		"MariaDB": func(t *testing.T) (string, string, func(sqltx.Runner) (*store.Store, error)) {
			return "mysql", servers.MariaDB(t).Database(t) + "?interpolateParams=true&tx_isolation=%27READ-COMMITTED%27",
				func(db sqltx.Runner) (*store.Store, error) { return store.MySQL(db, nil) }
		},
		"SQLite": func(t *testing.T) (string, string, func(sqltx.Runner) (*store.Store, error)) {
			file := filepath.Join(t.TempDir(), "app.db")
			return "sqlite", "file:" + file + "?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)",
				func(db sqltx.Runner) (*store.Store, error) { return store.SQLite(db, nil) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			driver, dsn, open := open(t)
			raw, err := sql.Open(driver, dsn)
			must(t, err)
			t.Cleanup(func() { _ = raw.Close() })
			db := sqltx.StdDB(raw)
			st, err := open(db)
			must(t, err)
			must(t, st.Migrate(t.Context()))
			flows(t, 100, db, stores{st.Outbox(), st.Inbox(), st.Sagas()})
		})
	}
}
