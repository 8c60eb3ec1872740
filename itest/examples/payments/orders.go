package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
)

const orderTables = `CREATE TABLE IF NOT EXISTS shop.orders (id text PRIMARY KEY, cents integer NOT NULL, state text NOT NULL DEFAULT 'placed')`

// orders is the shop's service.
type orders struct{ *service }

// newOrders makes it. decided is told of each decision when it is committed, perhaps more than once.
func newOrders(ctx context.Context, dsn string, broker bus.Transport, decided func(order, state string)) (*orders, error) {
	s, err := newService(ctx, dsn, "shop", orderTables, broker, outbox.To("orders", OrderPlaced{}))
	if err != nil {
		return nil, err
	}
	states := map[string]string{PaymentTaken{}.MessageName(): "paid", PaymentRefused{}.MessageName(): "refused"}
	hooks := bus.Hooks{Handled: func(d *bus.Delivery, _ int, _ time.Duration, err error) {
		if err == nil {
			decided(d.Key, states[d.Type])
		}
	}}
	err = s.consume(broker, toOrders, hooks,
		inbox.On(s.in, func(ctx context.Context, tx pgx.Tx, m PaymentTaken) error {
			_, err := tx.Exec(ctx, "UPDATE shop.orders SET state = 'paid' WHERE id = $1", m.OrderID)
			return err
		}),
		inbox.On(s.in, func(ctx context.Context, tx pgx.Tx, m PaymentRefused) error {
			_, err := tx.Exec(ctx, "UPDATE shop.orders SET state = 'refused' WHERE id = $1", m.OrderID)
			return err
		}))
	if err != nil {
		s.pool.Close()
		return nil, err
	}
	return &orders{s}, nil
}

// place writes an order and says so, in one transaction.
func (o *orders) place(ctx context.Context, cents int) (order string, err error) {
	order = sixfold.NewID()
	err = outbox.Do(ctx, o.box, o.db, func(ctx context.Context, tx pgx.Tx, u *outbox.Unit) error {
		if _, err := tx.Exec(ctx, "INSERT INTO shop.orders (id, cents) VALUES ($1, $2)", order, cents); err != nil {
			return err
		}
		u.Publish(OrderPlaced{OrderID: order, Cents: cents})
		return nil
	})
	return order, err
}
