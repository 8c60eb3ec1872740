package memory_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store/memory"
)

type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// A shop and its shipping department with nothing but the process.
func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	st := memory.New(nil)
	box, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("shipping", OrderPlaced{}))
	if err != nil {
		panic(err)
	}
	orders := map[string]bool{}
	err = outbox.Do(ctx, box, st.DB(), func(ctx context.Context, tx *memory.Tx, u *outbox.Unit) error {
		u.Publish(OrderPlaced{OrderID: "o-1"})
		return tx.OnCommit(func() { orders["o-1"] = true })
	})
	if err != nil {
		panic(err)
	}

	in, err := inbox.New(st.DB(), st.Inbox(), nil)
	if err != nil {
		panic(err)
	}
	local, err := outbox.NewLocal(st.Outbox(), st.DB(), &outbox.LocalOptions{Logger: quietLog})
	if err != nil {
		panic(err)
	}
	shipping, err := bus.NewConsumer(local, bus.Subscription{Group: "shipping", Ordered: true}, nil,
		inbox.On(in, func(ctx context.Context, tx *memory.Tx, m OrderPlaced) error {
			fmt.Println("ship", m.OrderID, orders[m.OrderID])
			stop() // the example ends here
			return nil
		}))
	if err != nil {
		panic(err)
	}
	if err := shipping.Run(ctx); err != nil {
		panic(err)
	}
	// Output: ship o-1 true
}

// Savepoints are those of sqltx, and take the caller's own changes along.
func ExampleTx_OnCommit() {
	ctx := context.Background()
	st := memory.New(nil)
	var log []string
	err := st.DB().Run(ctx, func(tx *memory.Tx) error {
		if err := tx.OnCommit(func() { log = append(log, "order") }); err != nil {
			return err
		}
		gift := sqltx.Native(tx).Savepoint(ctx, func(sqltx.Tx) error {
			if err := tx.OnCommit(func() { log = append(log, "gift") }); err != nil {
				return err
			}
			return errors.New("there are no gifts left")
		})
		fmt.Println(gift, log)
		return nil
	})
	fmt.Println(err, log)
	// Output:
	// there are no gifts left []
	// <nil> [order]
}
