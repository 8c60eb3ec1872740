// Package wrong passes what is no message.
package wrong

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, tx pgx.Tx) error {
	_, err := box.Publish(ctx, sqltx.Pgx(tx), struct{ ID string }{"1"})
	return err
}
