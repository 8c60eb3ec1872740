// Package wrong passes a transaction that no adapter has seen.
package wrong

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/sixfold-go/sixfold/outbox"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, tx pgx.Tx) error {
	_, err := box.Publish(ctx, tx, placed{"1"})
	return err
}
