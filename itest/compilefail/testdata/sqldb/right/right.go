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

func publish(ctx context.Context, box *outbox.Outbox, db *sql.DB) error {
	return sqltx.StdDB(db).Run(ctx, func(tx *sql.Tx) error {
		_, err := box.Publish(ctx, sqltx.Std(tx), placed{"1"})
		return err
	})
}
