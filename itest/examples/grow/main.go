// Program grow is a service that begins with nothing but a database, which is its broker too, and moves to a broker of its own by
// one line: a shop writes orders with their events, a relay sends them, shipping handles each once, in the order of its key.
//
//	go run ./examples/grow                                # an SQLite file is all there is
//	go run ./examples/grow -nats nats://127.0.0.1:4222    # the same over NATS JetStream
package main

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// OrderPaid says that money came in for an order.
type OrderPaid struct {
	OrderID string `json:"order_id"`
	Cents   int    `json:"cents"`
}

func (OrderPaid) MessageName() string  { return "orders.paid" }
func (m OrderPaid) MessageKey() string { return m.OrderID }

// shipping is who wants the orders.
var shipping = bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}

// brokerFor is the one place that knows which broker it is.
func brokerFor(st *store.Store, natsURL string) (bus.Transport, error) {
	if natsURL == "" {
		return sqlqueue.New(st.Broker(), &sqlqueue.Options{Groups: []bus.Subscription{shipping}})
	}
	return nats.New(natsURL, &nats.Options{Topics: []string{"orders"}})
}

// service pays for orders in instalments, and ships what is paid. It ends when every instalment was seen.
func service(ctx context.Context, db sqltx.DB[*sql.Tx], st *store.Store, broker bus.Transport, out io.Writer) error {
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPaid{}))
	if err != nil {
		return err
	}
	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
	if err != nil {
		return err
	}
	in, err := inbox.New(db, st.Inbox(), nil)
	if err != nil {
		return err
	}
	const orders, instalments = 2, 3
	seen := make(chan string, orders*instalments)
	consumer, err := bus.NewConsumer(broker, shipping, nil,
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m OrderPaid) error {
			var paid int
			err := tx.QueryRowContext(ctx, "INSERT INTO paid (order_id, cents) VALUES (?1, ?2) ON CONFLICT (order_id) DO UPDATE SET cents = cents + ?2 RETURNING cents", m.OrderID, m.Cents).Scan(&paid)
			if err == nil {
				seen <- fmt.Sprintf("%s: %d came, %d in all", m.OrderID, m.Cents, paid)
			}
			return err
		}))
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(ctx, consumer, relay) }()

	for i := range instalments {
		for o := range orders {
			err := outbox.Do(ctx, box, db, func(ctx context.Context, tx *sql.Tx, u *outbox.Unit) error {
				u.Publish(OrderPaid{OrderID: fmt.Sprintf("order %d", o+1), Cents: 100 * (i + 1)})
				return nil
			})
			if err != nil {
				return err
			}
		}
	}
	for range orders * instalments {
		select {
		case line := <-seen:
			fmt.Fprintln(out, line)
		case err := <-ran:
			return err
		}
	}
	stop()
	return <-ran
}

// run opens the database file, makes the tables and the broker, and runs the service.
func run(ctx context.Context, file, natsURL string, out io.Writer) error {
	sqlDB, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer sqlDB.Close()
	if _, err := sqlDB.ExecContext(ctx, "CREATE TABLE paid (order_id TEXT PRIMARY KEY, cents INTEGER NOT NULL)"); err != nil {
		return err
	}
	db := sqltx.StdDB(sqlDB)
	st, err := store.SQLite(db, nil)
	if err != nil {
		return err
	}
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	broker, err := brokerFor(st, natsURL)
	if err != nil {
		return err
	}
	defer broker.Close(context.WithoutCancel(ctx))
	return service(ctx, db, st, broker, out)
}

func main() {
	natsURL := flag.String("nats", "", "address of a NATS server; empty: the database is the broker")
	flag.Parse()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	dir, err := os.MkdirTemp("", "grow-")
	if err == nil {
		err = run(ctx, filepath.Join(dir, "shop.db"), *natsURL, os.Stdout)
		_ = os.RemoveAll(dir)
	}
	stop()
	if err != nil {
		log.Fatal(err)
	}
}
