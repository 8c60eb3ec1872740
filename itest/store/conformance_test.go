package store

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/store/storetest"
)

func TestPostgresThroughPgx(t *testing.T) {
	p := pool(t, servers.Postgres(t).Database(t))
	conformance(t, sqltx.PgxDB(p), p, store.Options{Schema: "case"})
}

func TestPostgresThroughDatabaseSQL(t *testing.T) {
	dsn := servers.Postgres(t).Database(t)
	conformance(t, sqltx.StdDB(std(t, dsn)), pool(t, dsn), store.Options{Schema: "Odd schema-Имя", Prefix: "select ", KeepDelivered: time.Hour})
}

// conformance runs the suite in one database, with a schema for each case.
func conformance(t *testing.T, db sqltx.Runner, aside *pgxpool.Pool, opts store.Options) {
	n, schema := 0, opts.Schema
	storetest.Run(t, func(t *testing.T) storetest.Opened {
		n++
		opts.Schema = fmt.Sprint(schema, " ", n)
		st, err := store.Postgres(db, &opts)
		must(t, err)
		must(t, st.Migrate(t.Context()))
		return storetest.Opened{Outbox: st.Outbox(), Inbox: st.Inbox(), DB: db, Keeps: opts.KeepDelivered > 0,
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
