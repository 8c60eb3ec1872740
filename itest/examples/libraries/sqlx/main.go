// Program sqlx places an order with sqlx, and ships it in a handler that is given a *sqlx.Tx. Set SIXFOLD_DSN to a
// PostgreSQL database.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jmoiron/sqlx"

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

// sqlxDB is the DB of a *sqlx.DB: handlers and outbox.Do get a *sqlx.Tx. Where *sql.Tx will do, sqltx.StdDB(db.DB) is shorter.
func sqlxDB(db *sqlx.DB) sqltx.DB[*sqlx.Tx] {
	return sqltx.DB[*sqlx.Tx]{
		Run: func(ctx context.Context, fn func(*sqlx.Tx) error) error {
			tx, err := db.BeginTxx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			if err := fn(tx); err != nil {
				return err
			}
			return tx.Commit()
		},
		Tx: func(tx *sqlx.Tx) sqltx.Tx { return sqltx.Std(tx.Tx) },
	}
}

// place writes the order and its message in one transaction.
func place(ctx context.Context, db *sqlx.DB, box *outbox.Outbox, order string) error {
	tx, err := db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := insert(ctx, tx, order); err != nil {
		return err
	}
	if _, err := box.Publish(ctx, sqltx.Std(tx.Tx), shop.OrderPlaced{OrderID: order}); err != nil {
		return err
	}
	return tx.Commit()
}

func insert(ctx context.Context, tx *sqlx.Tx, order string) error {
	_, err := tx.NamedExecContext(ctx, "INSERT INTO orders (id) VALUES (:id)", map[string]any{"id": order})
	return err
}

func run(ctx context.Context, dsn string, out io.Writer) error {
	db, err := sqlx.Open("pgx", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	st, box, err := shop.Open(ctx, sqlxDB(db))
	if err != nil {
		return err
	}
	order := sixfold.NewID()
	if err := place(ctx, db, box, order); err != nil {
		return err
	}
	fmt.Fprintln(out, "placed ", order)
	return shop.Ship(ctx, sqlxDB(db), st, func(ctx context.Context, tx *sqlx.Tx, m shop.OrderPlaced) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES ($1)", m.OrderID)
		fmt.Fprintln(out, "shipped", m.OrderID)
		return err
	})
}
