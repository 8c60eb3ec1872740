// Package roles gives tests connections of the database roles that `sixfold grants` makes, so that what they show holds for
// applications, relays and readers with exactly these grants. A test connects as the superuser only to look behind the
// curtain, or to change what is not Sixfold's.
package roles

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// Logins are the URLs of one database for each role. Tables that the superuser makes in schema public are the application's
// to read and write, as a service's own tables are.
type Logins struct {
	Superuser   string
	Migrator    string // owns the schema and its tables
	Application string // publishes and consumes
	Relay       string // sends the outbox
	Reader      string // looks at statistics
	Operator    string // looks after parked messages
	Broker      string // sends to and receives from the database as a broker
	Stranger    string // may do nothing
	All         string // application, relay, reader and broker: a process that does everything
}

// names are the logins with what each is a member of.
var names = []struct{ login, of string }{
	{"test_migrator", "sixfold_migrator"}, {"test_application", "sixfold_application"}, {"test_relay", "sixfold_relay"},
	{"test_reader", "sixfold_reader"}, {"test_operator", "sixfold_operator"}, {"test_broker", "sixfold_broker"}, {"test_stranger", ""}, {"test_all", "sixfold_application, sixfold_relay, sixfold_reader, sixfold_broker"},
}

// On makes the roles on the server of dsn, a superuser's URL of an empty database, then the tables of a store with these
// options as the migrator, and gives each role its grants. Roles belong to the whole server and stay; their grants go with
// the database.
func On(t testing.TB, dsn string, opts *store.Options) *Logins {
	t.Helper()
	l, err := logins(dsn)
	if err == nil {
		err = l.create(t.Context(), opts)
	}
	if err == nil {
		err = l.Migrate(t.Context(), opts)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Before is On without the tables: a database in which the roles and the schema are there, as the script for them leaves it.
func Before(t testing.TB, dsn string, opts *store.Options) *Logins {
	t.Helper()
	l, err := logins(dsn)
	if err == nil {
		err = l.create(t.Context(), opts)
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Service answers the URL of an empty database for a service that does everything (Logins.All) and makes its own tables in schema
// public. Those of a store with default options are there, and not its own.
func Service(t testing.TB, dsn string) string {
	t.Helper()
	l := On(t, dsn, nil)
	if err := run(t.Context(), dsn, "GRANT CREATE ON SCHEMA public TO test_all"); err != nil {
		t.Fatal(err)
	}
	return l.All
}

func logins(dsn string) (*Logins, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, errors.New("roles: the URL of the database cannot be read; give one of servers.Postgres")
	}
	password, _ := u.User.Password() // the server is ours, and every role has the same
	as := func(login, role string) string {
		own := *u
		own.User = url.UserPassword(login, password)
		if role != "" {
			q := own.Query()
			q.Set("role", role)
			own.RawQuery = q.Encode()
		}
		return own.String()
	}
	return &Logins{Superuser: dsn, Migrator: as("test_migrator", "sixfold_migrator"), Application: as("test_application", ""), Relay: as("test_relay", ""),
		Reader: as("test_reader", ""), Operator: as("test_operator", ""), Broker: as("test_broker", ""), Stranger: as("test_stranger", ""), All: as("test_all", "")}, nil
}

// create makes the roles where they are missing.
func (l *Logins) create(ctx context.Context, opts *store.Options) error {
	u, err := url.Parse(l.Superuser)
	if err != nil {
		return errors.New("roles: the URL of the database cannot be read; give one of servers.Postgres")
	}
	password, _ := u.User.Password()
	u.Path = "/postgres"
	// Tests that begin together make them one after the other. The lock is one of the database in which all meet.
	gate, err := pgx.Connect(ctx, u.String())
	if err != nil {
		return fmt.Errorf("roles: connect: %w", err)
	}
	defer gate.Close(context.WithoutCancel(ctx))
	if _, err := gate.Exec(ctx, "SELECT pg_advisory_lock(6)"); err != nil {
		return fmt.Errorf("roles: wait for others: %w", err)
	}
	var there bool
	if err := gate.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'test_all')").Scan(&there); err != nil {
		return fmt.Errorf("roles: look for the roles: %w", err)
	}
	script, _, err := l.scripts(ctx, opts)
	if err != nil {
		return err
	}
	if !there {
		for _, n := range names {
			script += fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '%s'", n.login, strings.ReplaceAll(password, "'", "''"))
			if n.of != "" {
				script += " IN ROLE " + n.of
			}
			script += ";\n"
		}
	}
	script += `ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO test_application, test_all;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO test_application, test_all;`
	return run(ctx, l.Superuser, script)
}

// Migrate makes the tables of a store as the migrator, and gives the roles their grants on them. The schema is the
// migrator's. It may be called for several stores of one database.
func (l *Logins) Migrate(ctx context.Context, opts *store.Options) error {
	script, grants, err := l.scripts(ctx, opts) // the former makes the schema
	if err == nil {
		err = run(ctx, l.Superuser, script)
	}
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, l.Migrator)
	if err != nil {
		return fmt.Errorf("roles: connect as the migrator: %w", err)
	}
	defer pool.Close()
	st, err := store.Postgres(sqltx.PgxDB(pool), opts)
	if err != nil {
		return err
	}
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	return run(ctx, l.Migrator, grants)
}

// scripts are those that were made: a store makes a hundred statements before it answers one of them, and they differ by names only.
var scripts struct {
	sync.Mutex
	of map[[2]string]struct{ roles, grants string }
}

// scripts answers the script of the roles and that of their grants, for a store with these options.
func (l *Logins) scripts(ctx context.Context, opts *store.Options) (roles, grants string, err error) {
	if opts == nil {
		opts = &store.Options{}
	}
	names := [2]string{opts.Schema, opts.Prefix}
	scripts.Lock()
	defer scripts.Unlock()
	if made, there := scripts.of[names]; there {
		return made.roles, made.grants, nil
	}
	pool, err := pgxpool.New(ctx, l.Superuser) // which connects when it is used, and here it is not
	if err != nil {
		return "", "", fmt.Errorf("roles: %w", err)
	}
	defer pool.Close()
	st, err := store.Postgres(sqltx.PgxDB(pool), opts)
	if err != nil {
		return "", "", err
	}
	if roles, err = st.RoleScript(store.Roles{}); err != nil {
		return "", "", err
	}
	if grants, err = st.GrantScript(store.Roles{}); err != nil {
		return "", "", err
	}
	if scripts.of == nil {
		scripts.of = map[[2]string]struct{ roles, grants string }{}
	}
	scripts.of[names] = struct{ roles, grants string }{roles, grants}
	return roles, grants, nil
}

// run runs a script on a connection of its own.
func run(ctx context.Context, dsn, script string) error {
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return fmt.Errorf("roles: connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, script); err != nil {
		return fmt.Errorf("roles: run a script: %w", err)
	}
	return nil
}
