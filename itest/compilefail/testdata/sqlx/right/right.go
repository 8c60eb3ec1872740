// Package right mends its twin.
package right

import (
	"context"

	"github.com/jmoiron/sqlx"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, db *sqlx.DB) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := box.Publish(ctx, sqltx.Std(tx.Tx), placed{"1"}); err != nil {
		return err
	}
	return tx.Commit()
}
