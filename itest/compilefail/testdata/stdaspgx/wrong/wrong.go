// Package wrong passes a transaction of another library.
package wrong

import (
	"context"
	"database/sql"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, tx *sql.Tx) error {
	_, err := box.Publish(ctx, sqltx.Pgx(tx), placed{"1"})
	return err
}
