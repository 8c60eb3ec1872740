package sqltx

import (
	"context"
	"database/sql"
	"errors"
)

// ErrNoTx is what a Tx answers that was made of nothing.
var ErrNoTx = errors.New("sqltx: the transaction is nil; begin one and pass it")

// Rows is the common part of *sql.Rows and pgx.Rows.
type Rows interface {
	Next() bool
	Scan(dest ...any) error
	Err() error
}

// Statement is one SQL statement with its arguments, in the placeholders of its dialect.
type Statement struct {
	SQL  string
	Args []any
	// Scan is called for each row of the result; nil when the statement answers none.
	Scan func(Rows) error
}

// Tx is a caller's open transaction. Make one with Std, Like or Pgx. It stays the caller's: nothing here commits it
// or rolls it back. Like the transaction itself it is not safe for concurrent use.
type Tx struct {
	on    tx
	depth int // of savepoints
}

type tx interface {
	exec(ctx context.Context, q string, args []any) (int64, error)
	query(ctx context.Context, q string, args []any) (closeRows, error)
}

type closeRows interface {
	Rows
	close()
}

// IsZero reports whether t was made of nothing.
func (t Tx) IsZero() bool { return t.on == nil }

// Exec runs q and answers the number of rows affected.
func (t Tx) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	if t.on == nil {
		return 0, ErrNoTx
	}
	return t.on.exec(ctx, q, args)
}

// Each runs q and calls scan for each row of its result. An error of scan ends it.
func (t Tx) Each(ctx context.Context, q string, args []any, scan func(Rows) error) error {
	if t.on == nil {
		return ErrNoTx
	}
	rows, err := t.on.query(ctx, q, args)
	if err != nil {
		return err
	}
	defer rows.close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Do runs s.
func (t Tx) Do(ctx context.Context, s Statement) error {
	if s.Scan == nil {
		_, err := t.Exec(ctx, s.SQL, s.Args...)
		return err
	}
	return t.Each(ctx, s.SQL, s.Args, s.Scan)
}

// A LikeTx has *sql.Tx's methods (gorm's PreparedStmtTX is one). Commit and Rollback are never called: they keep
// *sql.DB and *sql.Conn out at compile time.
type LikeTx interface {
	ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error)
	Commit() error
	Rollback() error
}

// Std adapts a *sql.Tx. For bun and sqlx pass the *sql.Tx embedded in theirs (tx.Tx).
func Std(tx *sql.Tx) Tx {
	if tx == nil {
		return Tx{}
	}
	return Tx{on: stdTx{tx}}
}

// Like adapts a transaction shaped like *sql.Tx that binds arguments the same way. bun's does not (it drops the
// arguments of a query without '?'), and is refused by every use of the Tx: pass its embedded *sql.Tx to Std.
func Like(tx LikeTx) Tx {
	switch {
	case isNil(tx):
		return Tx{}
	case isBun(tx):
		return Tx{on: refused{errBun}}
	}
	return Tx{on: stdTx{tx}}
}

type stdTx struct{ tx LikeTx }

func (s stdTx) exec(ctx context.Context, q string, args []any) (int64, error) {
	res, err := s.tx.ExecContext(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

func (s stdTx) query(ctx context.Context, q string, args []any) (closeRows, error) {
	rows, err := s.tx.QueryContext(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	return stdRows{rows}, nil
}

type stdRows struct{ *sql.Rows }

func (r stdRows) close() { r.Rows.Close() }

type refused struct{ err error }

func (r refused) exec(context.Context, string, []any) (int64, error)      { return 0, r.err }
func (r refused) query(context.Context, string, []any) (closeRows, error) { return nil, r.err }
