package main

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold/sqltx"
)

// mariaBusiness implements business with database/sql on MariaDB.
type mariaBusiness struct{ *mariaPool }

func (b mariaBusiness) fast() sqltx.DB[*sql.Tx]  { return sqltx.StdDB(b.db) }
func (b mariaBusiness) plain() sqltx.DB[*sql.Tx] { return sqltx.StdDB(b.db) }

func (b mariaBusiness) begin(ctx context.Context, fn func(*sql.Tx) error) error {
	return b.plain().Run(ctx, fn)
}

func (mariaBusiness) below(ctx context.Context, tx *sql.Tx, fn func(*sql.Tx) error) error {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT below"); err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "ROLLBACK TO SAVEPOINT below")
	return err
}

func (mariaBusiness) count(ctx context.Context, tx *sql.Tx, keys []string, id string) ([]int64, error) {
	numbers := make([]int64, len(keys))
	for i, key := range keys {
		r, err := tx.ExecContext(ctx, "UPDATE ledger_key SET n = LAST_INSERT_ID(n + 1) WHERE `key` = ?", key)
		if err == nil {
			numbers[i], err = r.LastInsertId()
		}
		if err != nil {
			return nil, err
		}
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO ledger_tx (tx) VALUES (?)", id)
	return numbers, err
}

func (mariaBusiness) poison(ctx context.Context, tx *sql.Tx, consumer, key string, n int64) (bool, error) {
	r, err := tx.ExecContext(ctx, "INSERT IGNORE INTO ledger_poison (consumer, `key`, n) VALUES (?, ?, ?)", consumer, key, n)
	if err != nil {
		return false, err
	}
	rows, err := r.RowsAffected()
	return rows > 0, err
}

func (mariaBusiness) effects(ctx context.Context, tx *sql.Tx, consumer string, keys []string, numbers []int64, ids []string) error {
	args := make([]any, 0, 4*len(keys))
	for i := range keys {
		args = append(args, consumer, keys[i], numbers[i], ids[i])
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO effect (consumer, `key`, n, msg) VALUES (?, ?, ?, ?)"+strings.Repeat(", (?, ?, ?, ?)", len(keys)-1), args...)
	return err
}

// cut finds the connection by its number, since a transaction does not show it.
func (b mariaBusiness) cut(ctx context.Context, tx *sql.Tx, _, swallow bool) *cuttable {
	var id uint32
	if tx.QueryRowContext(ctx, "SELECT CONNECTION_ID()").Scan(&id) != nil {
		return nil
	}
	c, ok := b.connections.Load(id)
	if !ok {
		return nil
	}
	cuttable := c.(*mariaConn).cuttable
	cuttable.arm(cutQuery, swallow)
	return cuttable
}

func (mariaBusiness) rolledBack(err error) bool {
	var server *mysql.MySQLError
	return errors.As(err, &server) && (server.Number == 1213 || server.Number == 1205)
}

func (mariaBusiness) passing() error { return &mysql.MySQLError{Number: 1213, Message: "on purpose"} }
