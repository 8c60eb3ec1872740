package main

import (
	"context"
	"database/sql"
	"strings"

	"github.com/sixfold-go/sixfold/sqltx"
)

// sqliteBusiness implements business with database/sql on SQLite.
type sqliteBusiness struct{ *sqlitePool }

func (b sqliteBusiness) fast() sqltx.DB[*sql.Tx]  { return sqltx.StdDB(b.db) }
func (b sqliteBusiness) plain() sqltx.DB[*sql.Tx] { return sqltx.StdDB(b.db) }

func (b sqliteBusiness) begin(ctx context.Context, fn func(*sql.Tx) error) error {
	return b.plain().Run(ctx, fn)
}

func (sqliteBusiness) below(ctx context.Context, tx *sql.Tx, fn func(*sql.Tx) error) error {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT below"); err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT below")
	return err
}

func (sqliteBusiness) count(ctx context.Context, tx *sql.Tx, keys []string, id string) ([]int64, error) {
	numbers := make([]int64, len(keys))
	for i, key := range keys {
		if err := tx.QueryRowContext(ctx, "UPDATE ledger_key SET n = n + 1 WHERE key = ? RETURNING n", key).Scan(&numbers[i]); err != nil {
			return nil, err
		}
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO ledger_tx (tx) VALUES (?)", id)
	return numbers, err
}

func (sqliteBusiness) poison(ctx context.Context, tx *sql.Tx, consumer, key string, n int64) (bool, error) {
	r, err := tx.ExecContext(ctx, "INSERT INTO ledger_poison (consumer, key, n) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", consumer, key, n)
	if err != nil {
		return false, err
	}
	rows, err := r.RowsAffected()
	return rows > 0, err
}

func (sqliteBusiness) effects(ctx context.Context, tx *sql.Tx, consumer string, keys []string, numbers []int64, ids []string) error {
	args := make([]any, 0, 4*len(keys))
	for i := range keys {
		args = append(args, consumer, keys[i], numbers[i], ids[i])
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO effect (consumer, key, n, msg) VALUES (?, ?, ?, ?)"+strings.Repeat(", (?, ?, ?, ?)", len(keys)-1), args...)
	return err
}

// cut implements business: there is no connection that could be cut.
func (sqliteBusiness) cut(context.Context, *sql.Tx, bool, bool) *cuttable { return nil }

// rolledBack implements business. What SQLite answers to COMMIT when it could not is nothing that a run brings about.
func (sqliteBusiness) rolledBack(error) bool { return false }

func (sqliteBusiness) passing() error { return busySnapshot{} }

// busySnapshot is like the driver's error for a transaction that has to begin again.
type busySnapshot struct{}

func (busySnapshot) Error() string { return "database is locked (517), on purpose" }
func (busySnapshot) Code() int     { return 517 } // SQLITE_BUSY_SNAPSHOT
