// Program sqlcpgx places an order with queries that sqlc generated for pgx, and ships it in a handler that is given a pgx.Tx. Set SIXFOLD_DSN to a
// PostgreSQL database.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/shop"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/sqlcpgx/db"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv("SIXFOLD_DSN"), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// place writes the order and its message in one transaction.
func place(ctx context.Context, pool *pgxpool.Pool, box *outbox.Outbox, order string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := db.New(tx).PlaceOrder(ctx, order); err != nil {
			return err
		}
		_, err := box.Publish(ctx, sqltx.Pgx(tx), shop.OrderPlaced{OrderID: order})
		return err
	})
}

func run(ctx context.Context, dsn string, out io.Writer) error {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return err
	}
	defer pool.Close()
	st, box, err := shop.Open(ctx, postgres.DB(pool))
	if err != nil {
		return err
	}
	order := sixfold.NewID()
	if err := place(ctx, pool, box, order); err != nil {
		return err
	}
	fmt.Fprintln(out, "placed ", order)
	return shop.Ship(ctx, postgres.DB(pool), st, func(ctx context.Context, tx pgx.Tx, m shop.OrderPlaced) error {
		err := db.New(tx).ShipOrder(ctx, m.OrderID)
		fmt.Fprintln(out, "shipped", m.OrderID)
		return err
	})
}
