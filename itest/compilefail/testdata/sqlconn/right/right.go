// Package right mends its twin.
package right

import (
	"context"
	"database/sql"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, conn *sql.Conn) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := box.Publish(ctx, sqltx.Std(tx), placed{"1"}); err != nil {
		return err
	}
	return tx.Commit()
}
