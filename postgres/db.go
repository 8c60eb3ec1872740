package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/sqltx"
)

// DB is the DB of a pool, as sqltx.PgxDB makes one, with CommitWith. The pool stays the caller's. A nil pool makes a DB
// that answers sqltx.ErrNoDB.
//
// CommitWith takes two round trips and those of fn: BEGIN goes together with the question for the transaction's id, and
// the last statements with COMMIT. When the connection is lost in the latter, a connection outside of the pool asks the
// server what became of the transaction (pg_xact_status, PostgreSQL 13 or newer, on the primary), for at most ten
// seconds, or one second after ctx has ended. The id costs a number of the cluster's 2^64, also for a transaction that
// writes nothing; Run and the rest ask for none.
//
// The pgx.Tx that fn is given is closed when CommitWith returns. fn must not commit it (that is refused) or roll it
// back, nor leave rows open; each is an error, and nothing is committed. The first 16 texts of last statements on a
// connection stay prepared there, unless the pool has another mode than QueryExecModeCacheStatement, or a tracer. BEGIN
// is not traced.
func DB(pool *pgxpool.Pool) sqltx.DB[pgx.Tx] {
	if pool == nil {
		return sqltx.DB[pgx.Tx]{}
	}
	db := sqltx.PgxDB(pool)
	db.CommitWith = func(ctx context.Context, fn func(pgx.Tx) ([]sqltx.Statement, error)) error {
		return commitWith(ctx, pool, fn)
	}
	return db
}
