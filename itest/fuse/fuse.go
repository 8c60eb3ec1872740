// Package fuse breaks a database's transactions down at any statement that a test names: as if the process had died there,
// which is to the database a transaction that never commits.
package fuse

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"

	"github.com/sixfold-go/sixfold/sqltx"
)

// ErrBlown is what a transaction fails with where its fuse blows.
var ErrBlown = errors.New("fuse: blown on purpose")

// A Fuse blows after a number of statements. It may be used by several goroutines. The zero value blows at the first one.
type Fuse struct{ left atomic.Int64 }

// Last makes it last for n statements from now on; a commit counts as one.
func (f *Fuse) Last(n int64) { f.left.Store(n) }

// Hold makes it last for longer than any test.
func (f *Fuse) Hold() { f.left.Store(1 << 40) }

func (f *Fuse) burn() error {
	if f.left.Add(-1) < 0 {
		return ErrBlown
	}
	return nil
}

// DB is a database each of whose transactions fails at the statement, or at the commit, that blows the fuse.
func DB(raw *sql.DB, f *Fuse) sqltx.DB[*sql.Tx] {
	db := sqltx.StdDB(raw)
	db.Exec, db.Query = nil, nil // so that everything is a transaction
	db.Tx = func(t *sql.Tx) sqltx.Tx { return sqltx.Like(&tx{t, f}) }
	run := db.Run
	db.Run = func(ctx context.Context, fn func(*sql.Tx) error) error {
		return run(ctx, func(t *sql.Tx) error {
			if err := fn(t); err != nil {
				return err
			}
			return f.burn() // before the commit
		})
	}
	return db
}

type tx struct {
	*sql.Tx
	fuse *Fuse
}

func (t *tx) ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error) {
	if err := t.fuse.burn(); err != nil {
		return nil, err
	}
	return t.Tx.ExecContext(ctx, q, args...)
}

func (t *tx) QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	if err := t.fuse.burn(); err != nil {
		return nil, err
	}
	return t.Tx.QueryContext(ctx, q, args...)
}
