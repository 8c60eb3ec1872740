// Package right mends its twin.
package right

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, tx pgx.Tx) error {
	_, err := box.Publish(ctx, sqltx.Pgx(tx), placed{"1"})
	return err
}
