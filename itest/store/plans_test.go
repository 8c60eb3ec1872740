package store

import (
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// What runs for each message, or each few of them, is planned once for each connection. PostgreSQL would rather plan it anew
// at every call where a few elements of an array look cheaper than any number, and that costs more than the rest.
// Plans are counted, not time.
func TestPlansAreKept(t *testing.T) {
	config, err := pgxpool.ParseConfig(servers.Postgres(t).Database(t))
	must(t, err)
	config.MaxConns = 1 // plans are kept per session
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(p.Close)
	db := sqltx.PgxDB(p)
	st, err := store.Postgres(db, nil)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	if _, err := p.Exec(t.Context(), "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"); err != nil {
		if os.Getenv(servers.RequireEnv) == "1" {
			t.Fatalf("the server has no pg_stat_statements, which is part of PostgreSQL's package postgresql-contrib: %v", err)
		}
		t.Skipf("the server has no pg_stat_statements; install postgresql-contrib: %v", err)
	}
	node := sixfold.NewID()
	must(t, st.Outbox().Leases().Join(t.Context(), "", node, time.Hour))
	in, token := st.Inbox(), sixfold.NewID()
	_, err = p.Exec(t.Context(), "SET pg_stat_statements.track = 'all'; SET pg_stat_statements.track_planning = on")
	must(t, err)

	const calls = 50
	lot := in.Parking()
	for i := range byte(calls) {
		must(t, pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
			on := sqltx.Pgx(tx)
			if _, err := in.Record(t.Context(), on, "c", []inbox.Record{{Message: [16]byte{i, 1}, Key: "a"}, {Message: [16]byte{i, 2}, Key: "b"}}); err != nil {
				return err
			}
			_, err := lot.Park(t.Context(), on, "c", []inbox.Item{{Record: inbox.Record{Message: [16]byte{i, 3}, Key: "parked"}, Enter: true}})
			return err
		}))
		work, err := lot.Claim(t.Context(), "c", inbox.Ask{Token: token, Lines: 10, Rows: 10, Hold: time.Hour})
		must(t, err)
		if len(work.Lines) != 1 {
			t.Fatalf("%d lines, want 1", len(work.Lines))
		}
		hold := inbox.Hold{Line: work.Lines[0].ID, Token: token}
		_, err = lot.Tend(t.Context(), []inbox.Hold{hold}, time.Hour, nil)
		must(t, err)
		must(t, pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
			there, err := lot.Take(t.Context(), sqltx.Pgx(tx), []inbox.Ticket{{N: work.Lines[0].Rows[0].N, Token: token}})
			if err == nil && len(there) != 1 {
				t.Errorf("took %v", there)
			}
			return err
		}))
		_, err = lot.Tend(t.Context(), nil, time.Hour, []inbox.Return{{Hold: hold}})
		must(t, err)
		for _, dest := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
			q := st.Outbox().Queue(dest)
			_, err := q.Settle(t.Context(), node, []int64{1})
			must(t, err)
			must(t, pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
				_, _, err := q.Claim(t.Context(), sqltx.Pgx(tx), node, []int64{1})
				return err
			}))
		}
	}

	rows, err := p.Query(t.Context(), `SELECT s.query, s.plans, s.calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
		WHERE d.datname = current_database() AND NOT s.toplevel AND s.calls >= $1`, calls)
	must(t, err)
	type counted struct {
		Query        string
		Plans, Calls int64
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[counted])
	must(t, err)
	if len(all) < 20 {
		t.Errorf("only %d statements inside of functions were counted: this test shows little any more: %v", len(all), all)
	}
	for _, s := range all {
		t.Logf("%d plans for %d calls: %.160s", s.Plans, s.Calls, s.Query)
		if s.Plans > 10 {
			t.Errorf("%d plans for %d calls of %s", s.Plans, s.Calls, s.Query)
		}
	}
}
