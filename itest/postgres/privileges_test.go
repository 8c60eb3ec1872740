package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
)

// COPY and LISTEN need no more than an application's role has anyhow, and trust no search_path.
func TestCopyAndListenWithTheApplicationsPrivileges(t *testing.T) {
	as := database(t, nil)
	// A function of that name before the server's own, in a schema of somebody else.
	owner := start(t, as, as.Superuser, nil)
	if _, err := owner.pool.Exec(t.Context(), `CREATE SCHEMA trap; GRANT USAGE ON SCHEMA trap TO PUBLIC;
CREATE FUNCTION trap.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE TABLE trap.outbox (LIKE sixfold.outbox)`); err != nil {
		t.Fatal(err)
	}
	app := start(t, as, as.Application, nil, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["search_path"] = "trap, pg_catalog" })
	app.listen(app.pool, postgres.ListenOptions{})
	owner.listen(owner.pool, postgres.ListenOptions{})
	rings, stop := owner.st.Outbox().Bell(outbox.ToBroker).Listen()
	defer stop()
	if err := app.in(func(tx pgx.Tx) error {
		_, err := postgres.PublishAll(t.Context(), app.box, tx, plain(10, "k"))
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
	if _, err := owner.pool.Exec(t.Context(), "REVOKE INSERT ON sixfold.outbox FROM sixfold_application"); err != nil {
		t.Fatal(err)
	}
	if err := app.in(func(tx pgx.Tx) error {
		_, err := postgres.PublishAll(t.Context(), app.box, tx, plain(10, "k"))
		return err
	}); err == nil || !strings.Contains(err.Error(), "permission denied for table outbox") || !strings.Contains(err.Error(), "sixfold grants") {
		t.Error(err)
	}
}
