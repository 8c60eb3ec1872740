package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// Publish writes into the caller's own transaction.
func ExampleOutbox_Publish() {
	place := func(ctx context.Context, db *sql.DB, box *outbox.Outbox, order string) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", order); err != nil {
			return err
		}
		if _, err := box.Publish(ctx, sqltx.Std(tx), OrderPlaced{OrderID: order}); err != nil {
			return err
		}
		return tx.Commit()
	}
	_ = place
}

// Do opens the transaction, and writes what was published together with COMMIT where the DB can do that.
func ExampleDo() {
	place := func(ctx context.Context, db sqltx.DB[*sql.Tx], box *outbox.Outbox, order string) error {
		return outbox.Do(ctx, box, db, func(ctx context.Context, tx *sql.Tx, u *outbox.Unit) error {
			if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", order); err != nil {
				return err
			}
			u.Publish(OrderPlaced{OrderID: order})
			return nil
		})
	}
	_ = place
}

// A relay runs until its context ends. Any number of processes may run one each.
func ExampleNewRelay() {
	run := func(ctx context.Context, st *store.Store, broker bus.Transport) error {
		relay, err := outbox.NewRelay(st.Outbox(), broker, &outbox.RelayOptions{Lease: 5 * time.Second})
		if err != nil {
			return err
		}
		return sixfold.Run(ctx, relay)
	}
	_ = run
}

// Everything that is wrong is said at once.
func ExampleNew() {
	_, err := outbox.New(nil, &outbox.Options{MaxBody: -1}, outbox.To("orders.>", OrderPlaced{}), outbox.ToConsumer("", OrderPlaced{}))
	fmt.Println(err)
	// Output:
	// outbox: the store is nil; pass store.Postgres(…).Outbox() or that of another database
	// outbox: MaxBody -1: it is outside 1 to 16 MiB; put large bodies into an object store and send their address
	// sixfold: invalid topic "orders.>": '>' is a wildcard of some brokers; use letters, digits, dots and dashes
	// outbox: consumer "": it is empty; give the name (group) of the consumer
}

// Writers in other languages compute the same.
func ExamplePartitionOf() {
	fmt.Println(outbox.PartitionOf("o-5"), outbox.PartitionOf("order-7"), outbox.PartitionOf("Zoë"))
	// Output: 52 59 28
}

// The attributes of a row are one JSON object, which other writers can make.
func ExampleEncodeAttrs() {
	attrs := outbox.EncodeAttrs(&sixfold.Envelope{
		Type: "orders.placed", Source: "billing", ContentType: "application/json", Headers: map[string]string{"tenant": "blue"},
	}, outbox.Flags{MustReach: true})
	fmt.Printf("%s\n", attrs)
	// Output: {"type":"orders.placed","source":"billing","mustreach":true,"headers":{"tenant":"blue"}}
}
