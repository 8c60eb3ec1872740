// Program sqlcstd places an order with queries that sqlc generated for database/sql, and ships it in a handler that is given a *sql.Tx. Set SIXFOLD_DSN to a
// PostgreSQL database.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/shop"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/sqlcstd/db"
	"github.com/sixfold-go/sixfold/outbox"
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
func place(ctx context.Context, sqlDB *sql.DB, box *outbox.Outbox, order string) error {
	tx, err := sqlDB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := db.New(tx).PlaceOrder(ctx, order); err != nil {
		return err
	}
	if _, err := box.Publish(ctx, sqltx.Std(tx), shop.OrderPlaced{OrderID: order}); err != nil {
		return err
	}
	return tx.Commit()
}

func run(ctx context.Context, dsn string, out io.Writer) error {
	sqlDB, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer sqlDB.Close()
	st, box, err := shop.Open(ctx, sqltx.StdDB(sqlDB))
	if err != nil {
		return err
	}
	order := sixfold.NewID()
	if err := place(ctx, sqlDB, box, order); err != nil {
		return err
	}
	fmt.Fprintln(out, "placed ", order)
	return shop.Ship(ctx, sqltx.StdDB(sqlDB), st, func(ctx context.Context, tx *sql.Tx, m shop.OrderPlaced) error {
		err := db.New(tx).ShipOrder(ctx, m.OrderID)
		fmt.Fprintln(out, "shipped", m.OrderID)
		return err
	})
}
