// Package wrong passes a connection as the transaction.
package wrong

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox, conn *pgx.Conn) error {
	_, err := box.Publish(ctx, sqltx.Pgx(conn), placed{"1"})
	return err
}
