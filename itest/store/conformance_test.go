package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/itest/tables"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/store/storetest"
)

func TestPostgresThroughPgx(t *testing.T) {
	o := store.Options{Schema: "case"}
	as := roles.On(t, servers.Postgres(t).Database(t), &o)
	conformance(t, as, sqltx.PgxDB(pool(t, as.All)), o)
}

func TestPostgresThroughDatabaseSQL(t *testing.T) {
	o := store.Options{Schema: "Odd schema-Имя", Prefix: "select ", KeepDelivered: time.Hour}
	as := roles.On(t, servers.Postgres(t).Database(t), &o)
	conformance(t, as, sqltx.StdDB(std(t, as.All)), o)
}

// conformance runs the suite on the tables of one store, with the grants of the roles and no others.
func conformance(t *testing.T, as *roles.Logins, db sqltx.Runner, opts store.Options) {
	aside := pool(t, as.Superuser)
	st, err := store.Postgres(db, &opts)
	must(t, err)
	var script strings.Builder // one round trip, and one commit
	for _, table := range tables.Names() {
		script.WriteString("DELETE FROM " + pgx.Identifier{opts.Schema, opts.Prefix + table}.Sanitize() + ";\n")
	}
	storetest.Run(t, func(t *testing.T) storetest.Opened {
		_, err := aside.Exec(t.Context(), script.String()) // making the tables for each case takes half a second
		must(t, err)
		return storetest.Opened{Outbox: st.Outbox(), Inbox: st.Inbox(), Schedule: st.Schedule(), Saga: st.Sagas(), DB: db, Keeps: opts.KeepDelivered > 0,
			Blocked: func(ctx context.Context) error { return untilBlocked(ctx, aside) }}
	})
}

// untilBlocked asks the server until a session of this database waits for another one's lock.
func untilBlocked(ctx context.Context, p *pgxpool.Pool) error {
	for {
		var waiting bool
		err := p.QueryRow(ctx, "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')").Scan(&waiting)
		if err != nil || waiting {
			return err
		}
	}
}
