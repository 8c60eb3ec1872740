// Package wrong passes a database as the transaction.
package wrong

import (
	"context"
	"database/sql"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, db *sql.DB) error {
	_, err := box.Publish(ctx, sqltx.Std(db), placed{"1"})
	return err
}
