package store

import (
	"database/sql"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// The printed script is all that is needed: nothing is left for Migrate, also under names that have to be quoted.
func TestPrintedScriptIsWhole(t *testing.T) { // OddTableNames
	for _, o := range []*store.Options{nil, {Schema: "My Schema", Prefix: "Order "}} {
		p := pool(t, servers.Postgres(t).Database(t))
		st, err := store.Postgres(sqltx.PgxDB(p), o)
		must(t, err)
		script := st.Migrations().Script()
		if psql, err := exec.LookPath("psql"); err == nil {
			cmd := exec.CommandContext(t.Context(), psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", p.Config().ConnString())
			cmd.Stdin = strings.NewReader(script)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("psql: %v\n%s", err, out)
			}
		} else {
			_, err := p.Exec(t.Context(), script) // without arguments a script is one message, as psql -c sends it
			must(t, err)
		}
		var before, after string
		const made = "SELECT string_agg(xmin::text, ',' ORDER BY oid) FROM pg_class"
		must(t, p.QueryRow(t.Context(), made).Scan(&before))
		must(t, st.Migrate(t.Context()))
		must(t, p.QueryRow(t.Context(), made).Scan(&after))
		if before != after {
			t.Error("Migrate had something left to do")
		}
		_, err = st.Outbox().Keeper().Check(t.Context())
		must(t, err)
		put(t, st, sqltx.PgxDB(p), row("k"))
	}
}

// A second run fails as a whole and leaves what is there.
func TestPrintedScriptRunsOnce(t *testing.T) {
	st, p := migrated(t, nil)
	if _, err := p.Exec(t.Context(), st.Migrations().Script()); err == nil {
		t.Error("the script ran on tables that are there")
	}
	_, err := st.Outbox().Keeper().Check(t.Context())
	must(t, err)
}

func TestPrintedScriptIsWholeOnSQLite(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "a.db")+"?_txlock=immediate")
	must(t, err)
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	st, err := store.SQLite(sqltx.StdDB(db), nil)
	must(t, err)
	_, err = db.ExecContext(t.Context(), st.Migrations().Script())
	must(t, err)
	status, err := st.Migrations().Status(t.Context())
	must(t, err)
	for _, m := range status {
		if !m.Applied || m.Problem != "" {
			t.Errorf("%+v", m)
		}
	}
	must(t, st.Migrate(t.Context()))
}
