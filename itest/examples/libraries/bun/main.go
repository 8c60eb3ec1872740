// Program bun places an order with bun, and ships it in a handler that is given a bun.Tx. Set SIXFOLD_DSN to a
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
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/sixfold-go/sixfold"
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

// Order and Shipment are bun's models.
type Order struct {
	ID string `bun:",pk"`
}

type Shipment struct {
	OrderID string `bun:",pk"`
}

// bunDB is the DB of a *bun.DB: handlers and outbox.Do get a bun.Tx. Sixfold is given the *sql.Tx inside it, since a
// bun.Tx drops the arguments of queries without '?'.
func bunDB(db *bun.DB) sqltx.DB[bun.Tx] {
	return sqltx.DB[bun.Tx]{
		Run: func(ctx context.Context, fn func(bun.Tx) error) error {
			return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error { return fn(tx) })
		},
		Tx: func(tx bun.Tx) sqltx.Tx { return sqltx.Std(tx.Tx) },
	}
}

// place writes the order and its message in one transaction.
func place(ctx context.Context, db *bun.DB, box *outbox.Outbox, order string) error {
	return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if _, err := tx.NewInsert().Model(&Order{ID: order}).Exec(ctx); err != nil {
			return err
		}
		_, err := box.Publish(ctx, sqltx.Std(tx.Tx), shop.OrderPlaced{OrderID: order})
		return err
	})
}

func run(ctx context.Context, dsn string, out io.Writer) error {
	sqlDB, err := sql.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer sqlDB.Close()
	db := bun.NewDB(sqlDB, pgdialect.New())
	st, box, err := shop.Open(ctx, bunDB(db))
	if err != nil {
		return err
	}
	order := sixfold.NewID()
	if err := place(ctx, db, box, order); err != nil {
		return err
	}
	fmt.Fprintln(out, "placed ", order)
	return shop.Ship(ctx, bunDB(db), st, func(ctx context.Context, tx bun.Tx, m shop.OrderPlaced) error {
		_, err := tx.NewInsert().Model(&Shipment{OrderID: m.OrderID}).Exec(ctx)
		fmt.Fprintln(out, "shipped", m.OrderID)
		return err
	})
}
