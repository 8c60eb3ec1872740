// Package privileges tests what the roles of `sixfold grants` may do, on a real PostgreSQL and a real MariaDB.
package privileges

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) { servers.Main(m) }

// world is a database whose schema the migrator made, with the six roles and their grants.
type world struct {
	*testing.T
	dsn   string
	owner *pgxpool.Pool // superuser; nil on MariaDB
	super sqltx.Runner
	maria *maria // nil: PostgreSQL
	roles store.Roles
	st    *store.Store // of the superuser
	known map[string]*login
}

// login is a role's pool with its store, which takes longer to make than a connection.
type login struct {
	runner sqltx.Runner
	st     *store.Store
	fresh  func() // has what comes next begin with new connections
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, dsn: servers.Postgres(t).Database(t), known: map[string]*login{}}
	w.owner = w.connect("", "")
	w.super = sqltx.PgxDB(w.owner)
	// Roles belong to the whole server, so each test has its own.
	var db string
	w.must(w.owner.QueryRow(t.Context(), "SELECT current_database()").Scan(&db))
	suffix := db[len(db)-10:]
	w.roles = store.Roles{Application: "app " + suffix, Relay: "Relay_" + suffix, Migrator: "migrator-" + suffix, Reader: "reader_" + suffix, Operator: "operator_" + suffix, Broker: "broker_" + suffix}
	w.st = w.store(w.owner)
	script, err := w.st.RoleScript(w.roles)
	w.must(err)
	w.must(w.script(t.Context(), script))
	t.Cleanup(func() {
		for _, r := range []string{w.roles.Application, w.roles.Relay, w.roles.Migrator, w.roles.Reader, w.roles.Operator, w.roles.Broker} {
			q := pgx.Identifier{r}.Sanitize()
			if _, err := w.owner.Exec(context.Background(), "DROP OWNED BY "+q+" CASCADE; DROP ROLE "+q); err != nil {
				t.Error(err)
			}
		}
	})
	w.must(w.store(w.connect(w.roles.Migrator, "")).Migrate(t.Context()))
	w.grant()
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) exec(q string, args ...any) {
	w.Helper()
	_, err := w.super.ExecSQL(w.Context(), q, args...)
	w.must(err)
}

// script runs one as the superuser.
func (w *world) script(ctx context.Context, text string) error {
	if w.maria != nil {
		return w.maria.script(ctx, text)
	}
	_, err := w.owner.Exec(ctx, text)
	return err
}

// sql is a statement for PostgreSQL in the names of this database.
func (w *world) sql(q string) string {
	if w.maria != nil {
		return strings.ReplaceAll(q, "sixfold.", "sixfold_")
	}
	return q
}

// as is a role with its store, on new connections.
func (w *world) as(role string) (sqltx.Runner, *store.Store) {
	w.Helper()
	l := w.known[role]
	if l == nil {
		if w.maria != nil {
			l = w.maria.login(w, role)
		} else {
			p := w.connect(role, "")
			l = &login{sqltx.PgxDB(p), w.store(p), p.Reset}
		}
		w.known[role] = l
	}
	l.fresh()
	return l.runner, l.st
}

// grant runs the script; again it changes nothing.
func (w *world) grant() {
	w.Helper()
	script, err := w.st.GrantScript(w.roles)
	w.must(err)
	w.must(w.script(w.Context(), script))
}

// connect opens a pool as a role, with a search_path.
func (w *world) connect(role, path string) *pgxpool.Pool {
	w.Helper()
	config, err := pgxpool.ParseConfig(w.dsn)
	w.must(err)
	config.MaxConns = 4
	if role != "" {
		config.ConnConfig.RuntimeParams["role"] = role
	}
	if path != "" {
		config.ConnConfig.RuntimeParams["search_path"] = path
	}
	p, err := pgxpool.NewWithConfig(w.Context(), config)
	w.must(err)
	w.Cleanup(p.Close)
	return p
}

func (w *world) store(p *pgxpool.Pool) *store.Store {
	w.Helper()
	st, err := store.Postgres(sqltx.PgxDB(p), &store.Options{KeepDelivered: time.Nanosecond})
	w.must(err)
	return st
}

// denied reports whether err is the answer to a missing privilege. MariaDB does not show tables on which one has none.
func denied(err error) bool {
	return err != nil && (strings.Contains(err.Error(), "permission denied") || strings.Contains(err.Error(), "role lacks") || strings.Contains(err.Error(), "command denied") || strings.Contains(err.Error(), "lacks a privilege") || strings.Contains(err.Error(), "there are no tables under"))
}
