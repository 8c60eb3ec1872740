package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// An identity says which transaction of which run of a server one is.
//
// The number alone does not: a server that recovers from a crash knows the numbers only that reached its log on disk,
// and gives the others out again, as a promoted standby does. "Committed" would then be said of somebody else's
// transaction, often within milliseconds, since the numbers that were in flight are the first to come again.
type identity struct {
	xid uint64
	run string
}

// runOfServer names the run: the start of the postmaster, and the start of the statistics, which every recovery
// from a crash throws away, also where the postmaster survived. Resetting them by hand costs certainty, no more. It
// cannot change while a connection lives.
const runOfServer = "extract(epoch from pg_postmaster_start_time())::text || '/' || coalesce((select extract(epoch from stats_reset)::text from pg_stat_bgwriter), '')"

// look asks once: nil means committed, errRolledBack rolled back, errInProgress and errReplica that it is to be asked
// again. It ends the session of a transaction that is an orphan.
func (id identity) look(ctx context.Context, conn *pgx.Conn, endOrphan bool) error {
	var replica bool
	var run string
	// Nothing is prepared, since the connection is used for moments only and there may be a pooler in between.
	err := conn.QueryRow(ctx, "select pg_is_in_recovery(), "+runOfServer, pgx.QueryExecModeExec).Scan(&replica, &run)
	if err != nil {
		return fmt.Errorf("postgres: ask for the server's run: %w", err)
	}
	if replica {
		return errReplica
	}
	var status *string
	err = conn.QueryRow(ctx, "select pg_xact_status($1::text::xid8)", pgx.QueryExecModeExec, fmt.Sprint(id.xid)).Scan(&status)
	same := run == id.run
	switch {
	case isFuture(err) && !same:
		return errRolledBack // its number never reached the log, so its commit did not either
	case err != nil:
		return fmt.Errorf("postgres: ask for the transaction: %w", err)
	case status == nil:
		return errForgotten
	case *status == "aborted":
		return errRolledBack
	case *status == "committed" && same:
		return nil
	case *status == "committed":
		return errRestarted
	case !same:
		return errRolledBack // whoever is in progress under that number is another one
	}
	if endOrphan {
		if err := id.endOrphan(ctx, conn); err != nil {
			return err
		}
	}
	return errInProgress
}

// isFuture reports whether the server has not given out the number that it was asked for.
func isFuture(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "22023" // invalid_parameter_value: "transaction ID … is in the future"
}

// endOrphan ends the session of the transaction if it waits for its client, which has gone without the server seeing
// it; that rolls back. A session that is at work, perhaps on the commit, is left alone.
func (id identity) endOrphan(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity "+
		"where backend_xid = $1::text::xid8::xid and state like 'idle in transaction%' and usename = current_user",
		pgx.QueryExecModeExec, fmt.Sprint(id.xid))
	if err != nil {
		return fmt.Errorf("postgres: end the lost session: %w", err)
	}
	return nil
}
