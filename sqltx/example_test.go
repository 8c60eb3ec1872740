package sqltx_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold/sqltx"
)

// A transaction of database/sql. The functions that take a Tx never commit it.
func ExampleStd() {
	rename := func(ctx context.Context, db *sql.DB, from, to string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		n, err := sqltx.Std(tx).Exec(ctx, "UPDATE customers SET name = ? WHERE name = ?", to, from)
		if err != nil {
			return err
		}
		fmt.Println(n, "rows")
		return tx.Commit()
	}
	_ = rename
}

// What fails inside of a savepoint is undone, and the transaction goes on.
func ExampleTx_Savepoint() {
	try := func(ctx context.Context, tx sqltx.Tx) error {
		err := tx.Savepoint(ctx, func(tx sqltx.Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO optional (id) VALUES (1)")
			return err
		})
		if err != nil {
			fmt.Println("without the optional row:", err)
		}
		_, err = tx.Exec(ctx, "INSERT INTO required (id) VALUES (1)")
		return err
	}
	_ = try
}

// A DB for another isolation level: fill in Run, and keep the rest.
func ExampleDB() {
	serializable := func(db *sql.DB) sqltx.DB[*sql.Tx] {
		out := sqltx.StdDB(db)
		out.Run = func(ctx context.Context, fn func(*sql.Tx) error) error {
			tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable})
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if err := fn(tx); err != nil {
				return err
			}
			return tx.Commit()
		}
		return out
	}
	_ = serializable
}

// What was made of nothing says so, whatever is asked of it.
func ExampleTx() {
	ctx := context.Background()
	_, err := sqltx.Std(nil).Exec(ctx, "SELECT 1")
	fmt.Println(err, errors.Is(err, sqltx.ErrNoTx))
	err = sqltx.StdDB(nil).InTx(ctx, func(sqltx.Tx) error { return nil })
	fmt.Println(err, errors.Is(err, sqltx.ErrNoDB))
	// Output:
	// sqltx: the transaction is nil; begin one and pass it true
	// sqltx: the database is nil; open one and pass it to StdDB or PgxDB true
}
