package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// pgRun names the run of the server: the start of the postmaster, and of the statistics, which every recovery from a
// crash throws away, also where the postmaster survived. pgXact names a transaction. Its number alone does not: a server
// that recovers from a crash knows only the numbers that reached its log, and gives the others out again, so that
// "committed" could be said of somebody else's transaction.
const (
	pgRun = "extract(epoch from pg_catalog.pg_postmaster_start_time())::text || '/' || " +
		"coalesce((SELECT extract(epoch from b.stats_reset)::text FROM pg_catalog.pg_stat_bgwriter b), '')"
	pgXact = "pg_catalog.pg_current_xact_id()::text || '@' || " + pgRun
)

// Outcome implements outbox.Writer. Connections that fail are no answer: it asks again until ctx ends. "Committed" is
// believed only of the run of the server in which the transaction was: after a crash it is unknown.
func (w *pgWriter) Outcome(ctx context.Context, xact string) (outbox.Outcome, error) {
	if xact == "" {
		return outbox.Unknown, errors.New("store: ask for the outcome of a commit: the transaction has no number; write with wantXact")
	}
	xact, run, _ := strings.Cut(xact, "@")
	var last error
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		status, same := "", false
		// One statement: between two the server might crash, and the second would be answered by another run.
		err := w.db.EachRow(ctx, w.outcome, []any{xact, run}, func(r sqltx.Rows) error { return r.Scan(&status, &same) })
		switch {
		case err == nil && status == "committed" && same:
			return outbox.Committed, nil
		case err == nil && status == "committed":
			return outbox.Unknown, fmt.Errorf("store: ask for the outcome of transaction %s: the server has crashed or failed over since, and may have given its number to another; look whether the rows are there", xact)
		case err == nil && status == "aborted":
			return outbox.RolledBack, nil
		case err == nil && status == "":
			return outbox.Unknown, fmt.Errorf("store: ask for the outcome of transaction %s: the server has forgotten it; look whether the rows are there", xact)
		case err != nil && definite(sqlState(err)):
			return outbox.Unknown, fmt.Errorf("store: ask for the outcome of transaction %s: %w", xact, err)
		case err != nil:
			last = err
		default:
			last = errors.New("it is still in progress")
		}
		select {
		case <-ctx.Done():
			return outbox.Unknown, fmt.Errorf("store: ask for the outcome of transaction %s: %w: %w", xact, ctx.Err(), last)
		case <-time.After(wait):
		}
	}
}

// Definite implements outbox.Writer. Only the server's own word counts. That pgx calls an error safe to retry means
// nothing: of a connection that dies while COMMIT waits for its answer it says "conn closed", as if nothing had been sent
// (pgx 5.12: pgconn.MultiResultReader.NextResult drops the first error).
func (w *pgWriter) Definite(err error) bool { return err != nil && definite(sqlState(err)) }

// definite reports whether an error with this SQLSTATE says that the statement had no effect. These say nothing about a
// COMMIT: a lost connection (08), a server that ends (57P0x) or panics while it writes the commit record (53, 58, XX), an
// outcome that the server itself calls unknown (40003).
func definite(state string) bool {
	if len(state) != 5 || state == "40003" || strings.HasPrefix(state, "57P0") {
		return false
	}
	switch state[:2] {
	case "08", "53", "58", "F0", "XX":
		return false
	}
	return true
}
