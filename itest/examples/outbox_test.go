package examples

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// routes is where the shop's messages go.
func routes(st *store.Store) (*outbox.Outbox, error) {
	return outbox.New(st.Outbox(), &outbox.Options{Source: "shop"},
		outbox.To("orders", OrderPlaced{}),             // an event: a topic without a place for it is no failure
		outbox.To("payments", ChargeCard{}),            // a command must reach its topic
		outbox.ToConsumer("statistics", OrderPlaced{}), // and a copy for a consumer of this database
	)
}

// placeOrder publishes in a transaction of the caller's own.
func placeOrder(ctx context.Context, db *sql.DB, box *outbox.Outbox, order string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", order); err != nil {
		return err
	}
	if _, err := box.Publish(ctx, sqltx.Std(tx), OrderPlaced{OrderID: order}, outbox.Header("tenant", "blue")); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	box.Committed() // wakes the relay of this process at once
	return nil
}

// placeInUnit lets Do open the transaction: what u publishes is written at its end.
func placeInUnit(ctx context.Context, db sqltx.DB[*sql.Tx], box *outbox.Outbox, order string) error {
	return outbox.Do(ctx, box, db, func(ctx context.Context, tx *sql.Tx, u *outbox.Unit) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", order); err != nil {
			return err
		}
		u.Publish(OrderPlaced{OrderID: order})
		u.Publish(ChargeCard{OrderID: order, Cents: 1999})
		return nil
	})
}

// A message is there if and only if its transaction committed.
func Example_publish() {
	ctx, stop := patience()
	defer stop()
	db, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := routes(st)
	must(err)

	must(placeOrder(ctx, sqlDB, box, "o-1"))
	must(placeInUnit(ctx, db, box, "o-2"))
	say(placeOrder(ctx, sqlDB, box, "o-2")) // which is there: nothing of it is written

	stats, err := st.Outbox().Keeper().Stats(ctx, outbox.ToBroker)
	must(err)
	fmt.Println(stats.Pending, "rows for brokers")
	// Output:
	// constraint failed: UNIQUE constraint failed: orders.id (1555)
	// 3 rows for brokers
}

// With an id of the caller's, doing the transaction again after an unknown outcome is safe.
func Example_again() {
	ctx, stop := patience()
	defer stop()
	_, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
	must(err)
	id := sixfold.NewID() // kept by whoever may ask a second time

	for range 2 {
		tx, err := sqlDB.BeginTx(ctx, nil)
		must(err)
		_, err = box.Publish(ctx, sqltx.Std(tx), OrderPlaced{OrderID: "o-1"}, outbox.ID(id))
		switch {
		case errors.Is(err, outbox.ErrDuplicateMessage):
			fmt.Println("published before; the transaction goes on")
		case err != nil:
			must(err)
		default:
			fmt.Println("published")
		}
		must(tx.Commit())
	}
	fmt.Println(count(ctx, sqlDB, "SELECT count(*) FROM sixfold_outbox"), "row")
	// Output:
	// published
	// published before; the transaction goes on
	// 1 row
}

// A relay sends what was committed. Its hooks and its health say what it does.
func Example_relay() {
	ctx, stop := patience()
	defer stop()
	_, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
	must(err)
	must(placeOrder(ctx, sqlDB, box, "o-1"))
	broker := memory.New(&memory.Options{Topics: []string{"orders"}})

	relay, err := outbox.NewRelay(st.Outbox(), broker, &outbox.RelayOptions{
		Lease: 5 * time.Second,
		Hooks: outbox.Hooks{
			Settled: func(class string, rows int, took time.Duration) {
				fmt.Println(rows, "confirmed and removed")
				stop() // the example ends here
			},
		},
	})
	must(err)
	must(relay.Run(ctx))
	fmt.Println(broker.Pending("orders"), "at the broker")
	// Output:
	// 1 confirmed and removed
	// 1 at the broker
}

// A row that the broker does not take delays its own key only, and is listed with its reason.
func Example_blocked() {
	ctx, stop := patience()
	defer stop()
	_, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}).MustReach())
	must(err)
	must(placeOrder(ctx, sqlDB, box, "o-1"))

	broker := memory.New(nil) // which has no topic "orders"
	failed := make(chan struct{}, 1)
	relay, err := outbox.NewRelay(st.Outbox(), broker, &outbox.RelayOptions{
		Hooks: outbox.Hooks{Failed: func(class string, row *outbox.FailedRow, err error) { failed <- struct{}{} }},
	})
	must(err)
	ran := make(chan error)
	go func() { ran <- relay.Run(ctx) }()
	<-failed
	for _, row := range relay.Blocked() {
		fmt.Printf("%s of key %s, %d attempt: %s\n", row.Type, row.Key, row.Attempts, row.Reason)
	}
	stop()
	must(<-ran)

	stats, err := st.Outbox().Keeper().Stats(context.Background(), outbox.ToBroker)
	must(err)
	fmt.Println(stats.Pending, "row waits")
	// Output:
	// orders.placed of key o-1, 1 attempt: memory: send to "orders": the broker has no place for the topic; declare it, or subscribe a group
	// 1 row waits
}

// placeInOrder changes the customer's row before it publishes. That row is locked until the commit, so the orders of one
// customer have one order, and their messages have the same.
func placeInOrder(ctx context.Context, tx *sql.Tx, box *outbox.Outbox, customer, order string) error {
	_, err := tx.ExecContext(ctx, "UPDATE customers SET orders = orders + 1 WHERE name = ?", customer)
	if err != nil {
		return err
	}
	_, err = box.Publish(ctx, sqltx.Std(tx), OrderPlaced{OrderID: order}, outbox.Key(customer))
	return err
}

func Example_order() {
	ctx, stop := patience()
	defer stop()
	_, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	_, err := sqlDB.ExecContext(ctx, "CREATE TABLE customers (name TEXT PRIMARY KEY, orders INTEGER); INSERT INTO customers VALUES ('zoe', 0)")
	must(err)
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
	must(err)
	broker := memory.New(&memory.Options{Topics: []string{"orders"}})
	sent := make(chan string, 3)
	broker.Tap(func(topic string, env *sixfold.Envelope) { sent <- env.Key + string(env.Body) })
	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
	must(err)

	for _, order := range []string{"o-1", "o-2", "o-3"} {
		tx, err := sqlDB.BeginTx(ctx, nil)
		must(err)
		must(placeInOrder(ctx, tx, box, "zoe", order))
		must(tx.Commit())
	}
	ran := make(chan error)
	go func() { ran <- relay.Run(ctx) }()
	for range 3 {
		fmt.Println(<-sent)
	}
	stop()
	must(<-ran)
	// Output:
	// zoe{"order_id":"o-1"}
	// zoe{"order_id":"o-2"}
	// zoe{"order_id":"o-3"}
}

// With DeadLetter a row that the broker does not take makes way for its key. It is kept beside the dead letters of consumers.
func Example_deadLetter() {
	ctx, stop := patience()
	defer stop()
	_, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}).MustReach())
	must(err)
	must(placeOrder(ctx, sqlDB, box, "o-1"))

	broker := memory.New(&memory.Options{Topics: []string{"payments"}}) // and no "orders"
	relay, err := outbox.NewRelay(st.Outbox(), broker, &outbox.RelayOptions{
		OnPoison: outbox.DeadLetter,
		Retry:    func(attempt int) time.Duration { return time.Millisecond },
	})
	must(err)
	running, end := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- relay.Run(running) }()

	dead, err := deadletter.New(st.DeadLetters())
	must(err)
	var letters []deadletter.Letter
	for len(letters) == 0 {
		letters, err = dead.List(ctx, deadletter.Filter{}, deadletter.Page{})
		must(err)
	}
	end()
	must(<-ran)
	fmt.Println(letters[0].Topic, letters[0].Type, letters[0].Reason, "from the relay:", letters[0].Relay)
	// Output: orders orders.placed unroutable from the relay: true
}

// Stats asks the table: a relay that does nothing sees nothing wrong.
func Example_stats() {
	ctx, stop := patience()
	defer stop()
	_, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("shipping", OrderPlaced{}))
	must(err)
	must(placeOrder(ctx, sqlDB, box, "o-1"))

	stats, err := st.Outbox().Keeper().Stats(ctx, outbox.ToLocal)
	must(err)
	for _, class := range stats.Classes {
		if !class.Consumed {
			fmt.Printf("%d rows for %q, and nobody consumes them\n", class.Pending, class.Class)
		}
	}
	// Output: 1 rows for "shipping", and nobody consumes them
}

// One relay for two brokers: a route says which.
func Example_via() {
	ctx, stop := patience()
	defer stop()
	_, st, sqlDB := openShop(ctx)
	defer sqlDB.Close()
	ours, theirs := memory.New(&memory.Options{Topics: []string{"orders"}}), memory.New(&memory.Options{Topics: []string{"partner.orders"}})

	box, err := outbox.New(st.Outbox(), nil,
		outbox.To("orders", OrderPlaced{}),
		outbox.To("partner.orders", OrderPlaced{}).Via("partner"))
	must(err)
	relay, err := outbox.NewRelay(st.Outbox(), ours, &outbox.RelayOptions{
		Transports: map[string]bus.Transport{"partner": theirs},
	})
	must(err)

	must(placeOrder(ctx, sqlDB, box, "o-1"))
	sent := make(chan string, 2)
	for _, broker := range []*memory.Transport{ours, theirs} {
		broker.Tap(func(topic string, env *sixfold.Envelope) { sent <- topic })
	}
	ran := make(chan error)
	go func() { ran <- relay.Run(ctx) }()
	for range 2 {
		<-sent
	}
	stop()
	must(<-ran)
	fmt.Println(ours.Pending("orders"), theirs.Pending("partner.orders"))
	// Output: 1 1
}
