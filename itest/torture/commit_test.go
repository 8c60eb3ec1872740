package main

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// The connection is cut just when COMMIT is sent, which arrives or does not: Do answers what became of the transaction.
// pgx says of such an error that it is safe to retry. guarantees: O1, O3
func TestDoTellsWhatBecameOfACutCommit(t *testing.T) {
	config, err := pgxpool.ParseConfig(servers.Postgres(t).Database(t))
	if err != nil {
		t.Fatal("the URL cannot be read")
	}
	config.ConnConfig.DialFunc = dialCuttable
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	st, err := store.Postgres(sqltx.PgxDB(pool), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, localRoutes()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		db      sqltx.DB[pgx.Tx]
		when    cut
		swallow bool
	}{
		{"pgx, COMMIT arrives", sqltx.PgxDB(pool), cutCommit, false},
		{"pgx, COMMIT is swallowed", sqltx.PgxDB(pool), cutCommit, true},
		{"postgres, COMMIT arrives", postgres.DB(pool), cutExecute, false},
		{"postgres, COMMIT is swallowed", postgres.DB(pool), cutExecute, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range 5 {
				var conn *cuttable
				id := ""
				err := outbox.Do(t.Context(), box, c.db, func(_ context.Context, tx pgx.Tx, u *outbox.Unit) error {
					id = u.Publish(Order{Key: hotKey, N: int64(i)})
					if i == 0 {
						return nil // prepares the statements
					}
					conn = tx.Conn().PgConn().Conn().(*cuttable)
					conn.arm(c.when, c.swallow)
					return nil
				})
				if i > 0 && !conn.done.Load() {
					t.Fatal("the connection was not cut")
				}
				var there int
				if qerr := pool.QueryRow(t.Context(), "SELECT count(*) FROM sixfold.local WHERE id = $1::text::uuid", id).Scan(&there); qerr != nil {
					t.Fatal(qerr)
				}
				// Of a batch that arrives the server may notice the lost client before it comes to COMMIT.
				if errors.Is(err, sqltx.ErrCommitUnknown) || (err == nil) != (there == 1) || there == 1 && i > 0 && c.swallow || there == 0 && !c.swallow && c.when == cutCommit {
					t.Errorf("Do answered %v, the message is there %d times", err, there)
				}
			}
		})
	}
}
