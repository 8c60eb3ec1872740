// Package wrong passes a pool as the transaction.
package wrong

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, pool *pgxpool.Pool) error {
	_, err := box.Publish(ctx, sqltx.Pgx(pool), placed{"1"})
	return err
}
