package sqltx

import (
	"context"
	"database/sql"
	"errors"
)

// ErrNoDB is what a DB answers that was made of nothing.
var ErrNoDB = errors.New("sqltx: the database is nil; open one and pass it to StdDB or PgxDB")

// A DB opens transactions of the caller's own kind X. StdDB and PgxDB make one; for another library fill in Run and
// Tx. It is safe for concurrent use if its functions are.
type DB[X any] struct {
	// Run begins a transaction, calls fn, and commits; or rolls back, when fn fails or panics. Required.
	Run func(ctx context.Context, fn func(X) error) error
	// Tx sees a transaction that Run opened. Required.
	Tx func(X) Tx
	// Exec and Query work outside a transaction. Nil: one is opened for each call.
	Exec  func(ctx context.Context, q string, args ...any) (int64, error)
	Query func(ctx context.Context, q string, args []any, scan func(Rows) error) error
	// CommitWith is Run whose fn answers the last statements of the transaction: they and COMMIT go in one round
	// trip, except that those with a Scan, and what stands before them, are a round trip of their own, so that an error
	// of Scan still rolls back. Nil means committed; every other error but one that matches ErrCommitUnknown means
	// rolled back, and that one comes only where nobody could be asked what became of the commit.
	// Nil: the statements run one by one, then Run commits.
	CommitWith func(ctx context.Context, fn func(X) ([]Statement, error)) error
}

// ErrCommitUnknown says that the connection was lost during COMMIT and that nobody could be asked what became of it:
// the transaction may have been committed or not.
var ErrCommitUnknown = errors.New("the outcome of the commit is unknown: the connection was lost; look whether the rows are there before doing it again")

// StdDB is the DB of a *sql.DB.
func StdDB(db *sql.DB) DB[*sql.Tx] {
	if db == nil {
		return DB[*sql.Tx]{}
	}
	return DB[*sql.Tx]{
		Run: func(ctx context.Context, fn func(*sql.Tx) error) error {
			tx, err := db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if err := fn(tx); err != nil {
				return err
			}
			return tx.Commit()
		},
		Tx: func(tx *sql.Tx) Tx { return Std(tx) },
		Exec: func(ctx context.Context, q string, args ...any) (int64, error) {
			res, err := db.ExecContext(ctx, q, args...)
			if err != nil {
				return 0, err
			}
			return res.RowsAffected()
		},
		Query: func(ctx context.Context, q string, args []any, scan func(Rows) error) error {
			rows, err := db.QueryContext(ctx, q, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				if err := scan(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		},
	}
}

// Runner is a DB whose kind of transaction does not matter. Every DB[X] is one; what only needs SQL takes a Runner.
type Runner interface {
	// InTx runs fn in a transaction.
	InTx(ctx context.Context, fn func(Tx) error) error
	// ExecSQL runs one statement on its own and answers the number of rows affected.
	ExecSQL(ctx context.Context, q string, args ...any) (int64, error)
	// EachRow runs one query on its own and calls scan for each row.
	EachRow(ctx context.Context, q string, args []any, scan func(Rows) error) error
}

// Err is ErrNoDB unless both required functions are there.
func (db DB[X]) Err() error {
	if db.Run == nil || db.Tx == nil {
		return ErrNoDB
	}
	return nil
}

// InTx implements Runner.
func (db DB[X]) InTx(ctx context.Context, fn func(Tx) error) error {
	if err := db.Err(); err != nil {
		return err
	}
	return db.Run(ctx, func(x X) error { return fn(db.Tx(x)) })
}

// ExecSQL implements Runner.
func (db DB[X]) ExecSQL(ctx context.Context, q string, args ...any) (n int64, err error) {
	if db.Exec != nil {
		return db.Exec(ctx, q, args...)
	}
	err = db.InTx(ctx, func(tx Tx) error {
		n, err = tx.Exec(ctx, q, args...)
		return err
	})
	return n, err
}

// EachRow implements Runner.
func (db DB[X]) EachRow(ctx context.Context, q string, args []any, scan func(Rows) error) error {
	if db.Query != nil {
		return db.Query(ctx, q, args, scan)
	}
	return db.InTx(ctx, func(tx Tx) error { return tx.Each(ctx, q, args, scan) })
}
