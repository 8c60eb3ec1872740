package sqltx

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// ErrNotTx is what a Tx answers that was made of a pool or a connection, by a library that has one type for these and
// for transactions.
var ErrNotTx = errors.New("sqltx: this is no transaction; begin one, and pass what it hands you (gorm: db.Transaction)")

// gormPool is gorm.ConnPool, as far as it matters, written without importing gorm.
type gormPool interface {
	ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error)
}

// Gorm adapts the transaction inside a *gorm.DB: pass its Statement.ConnPool, with PrepareStmt or without. gorm has one type
// for pools and transactions, so the compiler cannot tell them apart: of a pool every use of the Tx is ErrNotTx.
func Gorm(pool gormPool) Tx {
	if isNil(pool) {
		return Tx{}
	}
	tx, ok := pool.(LikeTx)
	if !ok {
		return Tx{on: refused{fmt.Errorf("%w: it is a %T", ErrNotTx, pool)}}
	}
	return Like(tx)
}
