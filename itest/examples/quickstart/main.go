// Program quickstart is the quick start of the README: a shop that places orders, and a consumer that ships them, with an
// SQLite file and nothing else. Interrupt it to stop it, and start it again to see that it goes on.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// OrderPlaced is a message: a plain value with a stable name. Messages of one key stay in order.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, "shop.db", os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, file string, out io.Writer) error {
	sqlDB, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer sqlDB.Close()
	_, err = sqlDB.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY); CREATE TABLE IF NOT EXISTS shipments (order_id TEXT)`)
	if err != nil {
		return err
	}

	db := sqltx.StdDB(sqlDB)
	st, err := store.SQLite(db, nil)
	if err != nil {
		return err
	}
	if err := st.Migrate(ctx); err != nil { // makes Sixfold's tables
		return err
	}

	// The shop: the order and its message commit together, or neither exists.
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("shipping", OrderPlaced{}))
	if err != nil {
		return err
	}
	order := sixfold.NewID()
	err = outbox.Do(ctx, box, db, func(ctx context.Context, tx *sql.Tx, u *outbox.Unit) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", order); err != nil {
			return err
		}
		u.Publish(OrderPlaced{OrderID: order})
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "placed ", order)

	// Shipping: the shipment and the record that the message was handled commit together.
	in, err := inbox.New(db, st.Inbox(), nil)
	if err != nil {
		return err
	}
	local, err := outbox.NewLocal(st.Outbox(), db, nil)
	if err != nil {
		return err
	}
	shipping, err := bus.NewConsumer(local, bus.Subscription{Group: "shipping", Ordered: true}, nil,
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES (?)", m.OrderID)
			fmt.Fprintln(out, "shipped", m.OrderID)
			return err
		}))
	if err != nil {
		return err
	}
	return sixfold.Run(ctx, shipping) // until ctx ends, then in order
}
