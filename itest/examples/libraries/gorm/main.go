// Program gorm places an order with gorm, and ships it in a handler that is given a *gorm.DB inside a transaction. Set SIXFOLD_DSN to a
// PostgreSQL database.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

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

// Order and Shipment are gorm's models.
type Order struct{ ID string }

type Shipment struct {
	OrderID string `gorm:"primaryKey"`
}

// gormDB is the DB of a *gorm.DB: handlers and outbox.Do get a *gorm.DB inside a transaction.
func gormDB(db *gorm.DB) sqltx.DB[*gorm.DB] {
	return sqltx.DB[*gorm.DB]{
		Run: func(ctx context.Context, fn func(*gorm.DB) error) error {
			return db.WithContext(ctx).Transaction(fn)
		},
		Tx: func(tx *gorm.DB) sqltx.Tx { return sqltx.Gorm(tx.Statement.ConnPool) },
	}
}

// place writes the order and its message in one transaction. With db in place of tx, Publish answers sqltx.ErrNotTx.
func place(ctx context.Context, db *gorm.DB, box *outbox.Outbox, order string) error {
	return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&Order{ID: order}).Error; err != nil {
			return err
		}
		_, err := box.Publish(ctx, sqltx.Gorm(tx.Statement.ConnPool), shop.OrderPlaced{OrderID: order})
		return err
	})
}

func run(ctx context.Context, dsn string, out io.Writer) error {
	db, err := gorm.Open(postgres.Open(dsn), &gorm.Config{Logger: logger.Discard})
	if err != nil {
		return err
	}
	defer closeGorm(db)
	st, box, err := shop.Open(ctx, gormDB(db))
	if err != nil {
		return err
	}
	order := sixfold.NewID()
	if err := place(ctx, db, box, order); err != nil {
		return err
	}
	fmt.Fprintln(out, "placed ", order)
	return shop.Ship(ctx, gormDB(db), st, func(ctx context.Context, tx *gorm.DB, m shop.OrderPlaced) error {
		err := tx.Create(&Shipment{OrderID: m.OrderID}).Error
		fmt.Fprintln(out, "shipped", m.OrderID)
		return err
	})
}

func closeGorm(db *gorm.DB) {
	if sqlDB, err := db.DB(); err == nil {
		_ = sqlDB.Close()
	}
}
