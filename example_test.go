package sixfold_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
)

// OrderPlaced is a message: a plain value with a stable name. Its key keeps the messages of one order in order.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
	Cents   int    `json:"cents"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed.v2" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// MessageHistory says what it was before: rows that were written then are still read.
func (OrderPlaced) MessageHistory() []sixfold.Former {
	return []sixfold.Former{{Name: "orders.placed", Upcast: func(body []byte) ([]byte, error) {
		return bytes.Replace(body, []byte(`"id"`), []byte(`"order_id"`), 1), nil
	}}}
}

func ExampleMessage() {
	env, err := sixfold.NewEnvelope(context.Background(), "shop", nil, OrderPlaced{OrderID: "o-1", Cents: 1999})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(env.Type, env.Key, string(env.Body))
	// Output: orders.placed.v2 o-1 {"order_id":"o-1","cents":1999}
}

func ExampleOn() {
	route := sixfold.On(func(ctx context.Context, m OrderPlaced) error {
		fmt.Println("ship", m.OrderID, "attempt", sixfold.InfoFrom(ctx).Attempt)
		return nil
	})
	fmt.Println(route.Name, route.Former)

	// A consumer does this for each message that it receives.
	env := &sixfold.Envelope{Type: "orders.placed.v2", Body: []byte(`{"order_id":"o-1"}`)}
	err := route.Handler()(sixfold.WithInfo(context.Background(), &sixfold.Info{Envelope: env, Attempt: 1}), env)
	fmt.Println(err)
	// Output:
	// orders.placed.v2 [orders.placed]
	// ship o-1 attempt 1
	// <nil>
}

func ExampleDecode() {
	old := &sixfold.Envelope{Type: "orders.placed", Body: []byte(`{"id":"o-1","cents":5}`)}
	m, err := sixfold.Decode[OrderPlaced](context.Background(), old)
	fmt.Println(m.OrderID, m.Cents, err)

	_, err = sixfold.Decode[OrderPlaced](context.Background(), &sixfold.Envelope{ID: "1", Type: "orders.placed.v2", Body: []byte(`{"order_id":5}`)})
	fmt.Println(err)
	fmt.Println(sixfold.IsPermanent(err))
	// Output:
	// o-1 5 <nil>
	// sixfold: decode "orders.placed.v2" "1": the body cannot be decoded: order_id is a JSON number at byte 13, which does not fit into a Go string
	// true
}

// The last in the list is stopped first: the consumer's handlers may still publish while they finish.
func ExampleRun() {
	until := func(name string) sixfold.Runnable {
		return sixfold.RunFunc(func(ctx context.Context) error {
			<-ctx.Done()
			fmt.Println(name, "stopped")
			return nil
		})
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Millisecond)
	defer stop()
	fmt.Println(sixfold.Run(ctx, until("relay"), until("consumer")))
	// Output:
	// consumer stopped
	// relay stopped
	// <nil>
}

func ExamplePermanent() {
	route := sixfold.On(func(ctx context.Context, m OrderPlaced) error {
		if m.Cents < 0 {
			return sixfold.Permanent(errors.New("a negative amount"))
		}
		return sixfold.RetryAfter(time.Minute, errors.New("the carrier is closed"))
	})
	err := route.Handler()(context.Background(), &sixfold.Envelope{Type: "orders.placed.v2", Body: []byte(`{"cents":-1}`)})
	fmt.Println(err, sixfold.IsPermanent(err))
	// Output: a negative amount true
}
