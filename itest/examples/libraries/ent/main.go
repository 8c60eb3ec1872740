// Program ent places an order with ent, and ships it in a handler that is given a *ent.Tx. Set SIXFOLD_DSN to a
// PostgreSQL database.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/ent/ent"
	"github.com/sixfold-go/sixfold/itest/examples/libraries/shop"
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

// entDB is the DB of an *ent.Client: handlers and outbox.Do get an *ent.Tx. The client is generated with the feature
// sql/execquery, which gives its transactions the methods of a *sql.Tx.
func entDB(client *ent.Client) sqltx.DB[*ent.Tx] {
	return sqltx.DB[*ent.Tx]{
		Run: func(ctx context.Context, fn func(*ent.Tx) error) error {
			tx, err := client.Tx(ctx)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if err := fn(tx); err != nil {
				return err
			}
			return tx.Commit()
		},
		Tx: func(tx *ent.Tx) sqltx.Tx { return sqltx.Like(tx) },
	}
}

// place writes the order and its message in one transaction.
func place(ctx context.Context, client *ent.Client, box *outbox.Outbox, order string) error {
	tx, err := client.Tx(ctx)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := tx.Order.Create().SetID(order).Exec(ctx); err != nil {
		return err
	}
	if _, err := box.Publish(ctx, sqltx.Like(tx), shop.OrderPlaced{OrderID: order}); err != nil {
		return err
	}
	return tx.Commit()
}

func run(ctx context.Context, dsn string, out io.Writer) (err error) {
	sqlDB, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	client := ent.NewClient(ent.Driver(entsql.OpenDB(dialect.Postgres, sqlDB)))
	defer func() { err = errors.Join(err, client.Close()) }()
	st, box, err := shop.Open(ctx, entDB(client))
	if err != nil {
		return err
	}
	order := sixfold.NewID()
	if err := place(ctx, client, box, order); err != nil {
		return err
	}
	fmt.Fprintln(out, "placed ", order)
	return shop.Ship(ctx, entDB(client), st, func(ctx context.Context, tx *ent.Tx, m shop.OrderPlaced) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES ($1)", m.OrderID)
		fmt.Fprintln(out, "shipped", m.OrderID)
		return err
	})
}
