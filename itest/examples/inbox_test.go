package examples

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// shipping is a consumer whose handler writes in the transaction that records the message as handled.
func shipping(db sqltx.DB[*sql.Tx], st *store.Store, broker bus.Transport, hooks bus.Hooks) (*bus.Consumer, error) {
	in, err := inbox.New(db, st.Inbox(), &inbox.Options{Retention: 14 * 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	return bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true},
		&bus.Options{Concurrency: 32, Hooks: hooks},
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES (?)", m.OrderID)
			return err
		}))
}

// The broker delivers a message twice; its effect is there once.
func Example_inbox() {
	ctx, stop := patience()
	defer stop()
	db, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	broker := memory.New(&memory.Options{Topics: []string{"orders"}})
	handled := make(chan error, 2)
	consumer, err := shipping(db, st, broker, bus.Hooks{
		Handled: func(d *bus.Delivery, attempt int, took time.Duration, err error) { handled <- err },
	})
	must(err)
	publisher, err := bus.NewPublisher(broker, nil)
	must(err)

	env, err := sixfold.NewEnvelope(ctx, "shop", nil, OrderPlaced{OrderID: "o-1"})
	must(err)
	again := *env
	must(publisher.PublishEnvelopes(ctx, "orders", []*sixfold.Envelope{env, &again}))
	must(publisher.Close(ctx))

	ran := make(chan error)
	go func() { ran <- consumer.Run(ctx) }()
	fmt.Println(<-handled, <-handled)
	stop()
	must(<-ran)
	fmt.Println(broker.Pending("orders"), "pending,", count(context.Background(), sqlDB, "SELECT count(*) FROM shipments"), "shipment")
	// Output:
	// <nil> <nil>
	// 0 pending, 1 shipment
}

// A batch handler takes many messages in one transaction; one that fails costs the others nothing.
func Example_batch() {
	ctx, stop := patience()
	defer stop()
	db, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("shipping", OrderPlaced{}))
	must(err)
	for _, order := range []string{"o-1", "o-2", "odd", "o-3"} {
		must(placeOrder(ctx, sqlDB, box, order))
	}
	in, err := inbox.New(db, st.Inbox(), nil)
	must(err)
	local, err := outbox.NewLocal(st.Outbox(), db, nil)
	must(err)

	route := inbox.OnBatch(in, func(ctx context.Context, tx *sql.Tx, ms []OrderPlaced) error {
		for _, m := range ms {
			if m.OrderID == "odd" {
				return sixfold.Permanent(errors.New("there is no such order"))
			}
			if _, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES (?)", m.OrderID); err != nil {
				return err
			}
		}
		return nil
	})
	route.BatchSize = 100

	done := make(chan string, 4)
	consumer, err := bus.NewConsumer(local, bus.Subscription{Group: "shipping", Ordered: true},
		&bus.Options{Hooks: bus.Hooks{
			Handled: func(d *bus.Delivery, attempt int, took time.Duration, err error) {
				if err == nil {
					done <- d.Key
				}
			},
			Dead: func(d *bus.Delivery, reason string, err error) {
				fmt.Println(d.Key, "is a dead letter:", err)
				done <- d.Key
			},
		}}, route)
	must(err)
	ran := make(chan error)
	go func() { ran <- consumer.Run(ctx) }()
	for range 4 {
		<-done
	}
	stop()
	must(<-ran)
	fmt.Println(count(context.Background(), sqlDB, "SELECT count(*) FROM shipments"), "shipments")
	// Output:
	// odd is a dead letter: there is no such order
	// 3 shipments
}

// What a handler publishes commits with its effect.
func Example_chain() {
	ctx, stop := patience()
	defer stop()
	db, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("payments", OrderPlaced{}), outbox.ToConsumer("bank", ChargeCard{}))
	must(err)
	must(placeOrder(ctx, sqlDB, box, "o-1"))
	in, err := inbox.New(db, st.Inbox(), nil)
	must(err)
	local, err := outbox.NewLocal(st.Outbox(), db, nil)
	must(err)

	payments, err := bus.NewConsumer(local, bus.Subscription{Group: "payments", Ordered: true}, nil,
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error {
			_, err := box.Publish(ctx, sqltx.Std(tx), ChargeCard{OrderID: m.OrderID, Cents: 1999})
			return err
		}))
	must(err)
	bank, err := bus.NewConsumer(local, bus.Subscription{Group: "bank", Ordered: true}, nil,
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m ChargeCard) error {
			env := sixfold.InfoFrom(ctx).Envelope
			fmt.Println("charge", m.Cents, "for", m.OrderID, "caused by another message:", env.CausationID != "" && env.CausationID != env.ID)
			stop() // the example ends here
			return nil
		}))
	must(err)
	must(sixfold.Run(ctx, payments, bank))
	// Output: charge 1999 for o-1 caused by another message: true
}

// A message that cannot be handled becomes a dead letter and holds its key. When the bug is mended it is sent again, and
// what waited behind it follows.
func Example_deadLetters() {
	ctx, stop := patience()
	defer stop()
	db, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("shipping", OrderPlaced{}))
	must(err)
	must(placeOrder(ctx, sqlDB, box, "o-1"))
	in, err := inbox.New(db, st.Inbox(), nil)
	must(err)
	local, err := outbox.NewLocal(st.Outbox(), db, nil)
	must(err)

	var mended atomic.Bool
	died, shipped := make(chan string, 1), make(chan string, 1)
	shipping, err := bus.NewConsumer(local, bus.Subscription{Group: "shipping"},
		&bus.Options{
			Retry: sixfold.Retry{MaxAttempts: 2, MaxBackoff: time.Millisecond},
			Hooks: bus.Hooks{Dead: func(d *bus.Delivery, reason string, err error) { died <- reason + ": " + err.Error() }},
		},
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error {
			if !mended.Load() {
				return errors.New("no such country")
			}
			shipped <- m.OrderID
			return nil
		}))
	must(err)
	running, end := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- shipping.Run(running) }()
	fmt.Println(<-died)

	dead, err := deadletter.New(st.DeadLetters())
	must(err)
	letters, err := dead.List(ctx, deadletter.Filter{Consumer: "shipping"}, deadletter.Page{})
	must(err)
	fmt.Println(letters[0].Type, letters[0].Attempts, "attempts, holds its key:", letters[0].Line.Blocked)

	mended.Store(true)
	report, err := dead.Redrive(ctx, deadletter.Filter{Consumer: "shipping"}, deadletter.Options{Who: "ann", Reason: "countries are known now"})
	must(err)
	fmt.Println(report.Done, "sent again; shipped", <-shipped)
	end()
	must(<-ran)
	// Output:
	// attempts: no such country
	// orders.placed 2 attempts, holds its key: true
	// 1 sent again; shipped o-1
}

// A policy for a consumer, for an error, and for a route.
func Example_retry() {
	busy := errors.New("the bank is busy")
	policy := sixfold.Retry{
		MaxAttempts: 8,
		MinBackoff:  200 * time.Millisecond,
		MaxBackoff:  5 * time.Minute,
		Classes:     []sixfold.RetryClass{sixfold.ErrorIs(busy, sixfold.Retry{MaxAttempts: 100, MinBackoff: time.Minute})},
	}
	opts := &bus.Options{Retry: policy}
	route := sixfold.On(func(ctx context.Context, m OrderPlaced) error {
		return sixfold.RetryAfter(36*time.Hour, errors.New("the carrier collects on Monday"))
	}).Retrying(sixfold.Retry{MaxAttempts: 3, AfterDead: sixfold.GoOn})

	fmt.Println(route.Retry.Or(opts.Retry).For(errors.New("any")).MaxAttempts, route.Retry.Or(opts.Retry).For(busy).MaxAttempts)
	// Output: 3 100
}
