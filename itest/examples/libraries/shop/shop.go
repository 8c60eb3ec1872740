// Package shop is what the examples of the libraries beside it have in common: a message, tables, and a consumer. What they
// show is where they differ: how an order and its message are written in one transaction of the library, and what
// transaction a handler is given.
package shop

import (
	"context"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// OrderPlaced is the message. Messages of one key stay in order.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// Open makes the tables that are missing, and the outbox. Any library's DB will do for the store.
func Open[X any](ctx context.Context, db sqltx.DB[X]) (*store.Store, *outbox.Outbox, error) {
	for _, table := range []string{"orders (id text PRIMARY KEY)", "shipments (order_id text PRIMARY KEY)"} {
		if _, err := db.ExecSQL(ctx, "CREATE TABLE IF NOT EXISTS "+table); err != nil {
			return nil, nil, err
		}
	}
	st, err := store.Postgres(db, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := st.Migrate(ctx); err != nil {
		return nil, nil, err
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("shipping", OrderPlaced{}))
	return st, box, err
}

// Ship runs a consumer of the orders until ctx ends. Its handler is given a transaction of the library.
func Ship[X any](ctx context.Context, db sqltx.DB[X], st *store.Store, handle func(ctx context.Context, tx X, m OrderPlaced) error) error {
	in, err := inbox.New(db, st.Inbox(), nil)
	if err != nil {
		return err
	}
	local, err := outbox.NewLocal(st.Outbox(), db, nil)
	if err != nil {
		return err
	}
	consumer, err := bus.NewConsumer(local, bus.Subscription{Group: "shipping", Ordered: true}, nil, inbox.On(in, handle))
	if err != nil {
		return err
	}
	return sixfold.Run(ctx, consumer)
}
