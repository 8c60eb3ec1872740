package postgres

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/store"
)

// COPY and LISTEN need no more than an application's role has anyhow, and trust no search_path.
func TestCopyAndListenWithTheApplicationsPrivileges(t *testing.T) {
	owner := start(t, servers.Postgres(t).Database(t), nil)
	var db string
	if err := owner.pool.QueryRow(t.Context(), "SELECT current_database()").Scan(&db); err != nil {
		t.Fatal(err)
	}
	suffix := db[len(db)-10:] // roles belong to the whole server
	roles := store.Roles{Application: "app_" + suffix, Relay: "relay_" + suffix, Migrator: "migrator_" + suffix, Reader: "reader_" + suffix}
	for _, script := range []func(store.Roles) (string, error){owner.st.RoleScript, owner.st.GrantScript} {
		text, err := script(roles)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := owner.pool.Exec(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, r := range []string{roles.Application, roles.Relay, roles.Migrator, roles.Reader} {
			if _, err := owner.pool.Exec(context.Background(), "DROP OWNED BY "+r+" CASCADE; DROP ROLE "+r); err != nil {
				t.Error(err)
			}
		}
	})
	// A function of that name before the server's own, in a schema of somebody else.
	if _, err := owner.pool.Exec(t.Context(), `CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE FUNCTION trap.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE TABLE trap.outbox (LIKE sixfold.outbox)`); err != nil {
		t.Fatal(err)
	}
	pool := open(t, owner.dsn, func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["role"] = roles.Application
		c.ConnConfig.RuntimeParams["search_path"] = "trap, pg_catalog"
	})
	st, err := store.Postgres(postgres.DB(pool), nil)
	if err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.To("messages", message{}))
	if err != nil {
		t.Fatal(err)
	}
	app := &process{T: t, dsn: owner.dsn, pool: pool, st: st, box: box}
	app.listen(pool, postgres.ListenOptions{})
	owner.listen(owner.pool, postgres.ListenOptions{})
	rings, stop := owner.st.Outbox().Bell(outbox.ToBroker).Listen()
	defer stop()
	if err := app.in(func(tx pgx.Tx) error {
		_, err := postgres.PublishAll(t.Context(), box, tx, plain(10, "k"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if r := next(t, rings); r != outbox.Heard {
		t.Errorf("rang %v", r)
	}
	if n := owner.count("SELECT count(*) FROM sixfold.outbox"); n != 10 {
		t.Errorf("%d rows", n)
	}
	// One fewer fails, and says which.
	if _, err := owner.pool.Exec(t.Context(), "REVOKE INSERT ON sixfold.outbox FROM "+roles.Application); err != nil {
		t.Fatal(err)
	}
	if err := app.in(func(tx pgx.Tx) error {
		_, err := postgres.PublishAll(t.Context(), box, tx, plain(10, "k"))
		return err
	}); err == nil || !strings.Contains(err.Error(), "permission denied for table outbox") || !strings.Contains(err.Error(), "sixfold grants") {
		t.Error(err)
	}
}
