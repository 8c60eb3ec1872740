package sqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/sixfold-go/sixfold/sqltx"
)

// tag, rows and tx have the shape of pgx's types.
type (
	tag  struct{}
	rows struct{}
	tx   struct{}
	pool struct{}
)

func (tag) RowsAffected() int64                                   { return 0 }
func (rows) Next() bool                                           { return false }
func (rows) Scan(...any) error                                    { return nil }
func (rows) Err() error                                           { return nil }
func (rows) Close()                                               {}
func (*tx) Exec(context.Context, string, ...any) (tag, error)     { return tag{}, nil }
func (*tx) Query(context.Context, string, ...any) (rows, error)   { return rows{}, nil }
func (*tx) Commit(context.Context) error                          { return nil }
func (*tx) Rollback(context.Context) error                        { return nil }
func (*pool) Begin(context.Context) (*tx, error)                  { return &tx{}, nil }
func (*pool) Exec(context.Context, string, ...any) (tag, error)   { return tag{}, nil }
func (*pool) Query(context.Context, string, ...any) (rows, error) { return rows{}, nil }

type likeTx struct{ *sql.Tx }

func TestNoTransactionIsATypedError(t *testing.T) {
	for name, none := range map[string]sqltx.Tx{
		"zero": {}, "Std": sqltx.Std(nil), "Like": sqltx.Like(nil), "Like of a nil *sql.Tx": sqltx.Like((*sql.Tx)(nil)),
		"Like of another nil pointer": sqltx.Like((*likeTx)(nil)), "Pgx": sqltx.Pgx((*tx)(nil)),
	} {
		never := func(sqltx.Rows) error { t.Error("a row came"); return nil }
		_, exec := none.Exec(t.Context(), "SELECT 1")
		for what, err := range map[string]error{
			"Exec": exec, "Each": none.Each(t.Context(), "SELECT 1", nil, never), "Do": none.Do(t.Context(), sqltx.Statement{SQL: "SELECT 1"}),
			"Savepoint": none.Savepoint(t.Context(), func(sqltx.Tx) error { t.Error("fn was called"); return nil }),
		} {
			if !errors.Is(err, sqltx.ErrNoTx) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
		if !none.IsZero() {
			t.Errorf("%s is not zero", name)
		}
	}
	if sqltx.Pgx(&tx{}).IsZero() || sqltx.Std(&sql.Tx{}).IsZero() {
		t.Error("a transaction is taken for none")
	}
}

func TestNoDatabaseIsATypedError(t *testing.T) {
	for name, db := range map[string]interface {
		sqltx.Runner
		Err() error
	}{
		"zero": sqltx.DB[int]{}, "StdDB": sqltx.StdDB(nil), "PgxDB": sqltx.PgxDB((*pool)(nil)),
		"no Tx": sqltx.DB[int]{Run: func(context.Context, func(int) error) error { return nil }},
	} {
		_, exec := db.ExecSQL(t.Context(), "SELECT 1")
		for what, err := range map[string]error{
			"Err": db.Err(), "InTx": db.InTx(t.Context(), func(sqltx.Tx) error { return nil }), "ExecSQL": exec,
			"EachRow": db.EachRow(t.Context(), "SELECT 1", nil, func(sqltx.Rows) error { return nil }),
		} {
			if !errors.Is(err, sqltx.ErrNoDB) {
				t.Errorf("%s: %s: %v", name, what, err)
			}
		}
	}
	if err := sqltx.PgxDB(&pool{}).Err(); err != nil {
		t.Error(err)
	}
}
