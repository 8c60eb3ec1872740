package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// The handler writes in the transaction that records the message as handled. The box is given to the consumer as well,
// which counts attempts in it and removes old records.
func ExampleOn() {
	shipping := func(db sqltx.DB[*sql.Tx], st *store.Store, broker bus.Transport) (*bus.Consumer, error) {
		in, err := inbox.New(db, st.Inbox(), nil)
		if err != nil {
			return nil, err
		}
		return bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true},
			nil,
			inbox.On(in, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error {
				_, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES (?)", m.OrderID)
				return err
			}))
	}
	_ = shipping
}

// A batch handler takes many messages in one transaction.
func ExampleOnBatch() {
	route := func(in *inbox.Box[*sql.Tx]) sixfold.Route {
		r := inbox.OnBatch(in, func(ctx context.Context, tx *sql.Tx, ms []OrderPlaced) error {
			for _, m := range ms {
				if _, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES (?)", m.OrderID); err != nil {
					return err
				}
			}
			return nil
		})
		r.BatchSize = 100
		return r
	}
	_ = route
}

// Everything that is wrong is said at once.
func ExampleNew() {
	_, err := inbox.New(sqltx.StdDB(nil), nil, &inbox.Options{Retention: time.Minute})
	fmt.Println(err)
	// Output:
	// sqltx: the database is nil; open one and pass it to StdDB or PgxDB
	// inbox: the store is nil; pass store.Postgres(…).Inbox() or that of another database
	// inbox: Retention is 1m0s and Redelivery 1h0m0s: a copy that comes when the first is forgotten takes effect twice; let Retention be the longer one
}

// The identity of a message is its source and its id.
func ExampleRecordOf() {
	a := inbox.RecordOf(&sixfold.Envelope{Source: "shop", ID: "1", Type: "orders.placed", Body: []byte("{}")})
	b := inbox.RecordOf(&sixfold.Envelope{Source: "shop", ID: "1", Type: "orders.placed", Body: []byte("[]")})
	c := inbox.RecordOf(&sixfold.Envelope{Source: "bank", ID: "1", Type: "orders.placed", Body: []byte("{}")})
	fmt.Println(a.Message == b.Message, a.Digest == b.Digest)
	fmt.Println(a.Message == c.Message)
	// Output:
	// true false
	// false
}
