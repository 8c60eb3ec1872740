package sixfoldtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// OrderShipped is published by Shipping.
type OrderShipped struct {
	OrderID string `json:"order_id"`
}

func (OrderShipped) MessageName() string  { return "orders.shipped" }
func (m OrderShipped) MessageKey() string { return m.OrderID }

// Shipping is a part of a program: it hears of orders from a broker, ships them, and says so.
type Shipping struct {
	Relay    *outbox.Relay
	Consumer *bus.Consumer
	Route    sixfold.Route
	Shipped  map[string]int // times, by order
	Truck    error          // why none can leave
}

func NewShipping(kit *sixfoldtest.Kit) (*Shipping, error) {
	s := &Shipping{Shipped: map[string]int{}}
	box, err := outbox.New(kit.Outbox, nil, outbox.To("shipments", OrderShipped{}))
	if err != nil {
		return nil, err
	}
	in, err := inbox.New(kit.DB, kit.Inbox, nil)
	if err != nil {
		return nil, err
	}
	s.Route = inbox.On(in, func(ctx context.Context, tx *memory.Tx, m OrderPlaced) error {
		if s.Truck != nil {
			return s.Truck
		}
		if _, err := box.Publish(ctx, in.Tx(tx), OrderShipped(m)); err != nil {
			return err
		}
		return tx.OnCommit(func() { s.Shipped[m.OrderID]++ })
	})
	s.Relay, err = outbox.NewRelay(kit.Outbox, kit.Broker, nil)
	if err != nil {
		return nil, err
	}
	s.Consumer, err = bus.NewConsumer(kit.Broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, nil, s.Route)
	return s, err
}

// A whole program in the process, with the real relay and the real consumer.
func TestShipping(t *testing.T) {
	kit := sixfoldtest.New("orders", "shipments")
	shipping, err := NewShipping(kit)
	if err != nil {
		t.Fatal(err)
	}
	audit, err := bus.NewConsumer(kit.Broker, bus.Subscription{Topics: []string{"shipments"}, Group: "audit"}, nil,
		sixfold.On(func(ctx context.Context, m OrderShipped) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	app := kit.Start(t, shipping.Relay, shipping.Consumer, audit)

	publisher, err := bus.NewPublisher(kit.Broker, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.Publish(t.Context(), "orders", OrderPlaced{OrderID: "o-1"}); err != nil {
		t.Fatal(err)
	}
	if err := sixfoldtest.Quiet(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	shipped := sixfoldtest.Published[OrderShipped](t, kit.Outbox)
	if !slices.Equal(shipped, []OrderShipped{{OrderID: "o-1"}}) {
		t.Errorf("shipped: %v", shipped)
	}
}

// Ten attempts, with their delays of minutes, take no time in a bubble.
func TestNoTruckForTenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New("orders")
		shipping, err := NewShipping(kit)
		if err != nil {
			t.Fatal(err)
		}
		shipping.Truck = errors.New("there is no truck")
		app := kit.Start(t, shipping.Consumer)

		publisher, err := bus.NewPublisher(kit.Broker, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := publisher.Publish(t.Context(), "orders", OrderPlaced{OrderID: "o-1"}); err != nil {
			t.Fatal(err)
		}
		if err := publisher.Close(t.Context()); err != nil { // nothing may be left running in a bubble
			t.Fatal(err)
		}
		begun := time.Now()
		if err := sixfoldtest.Quiet(t.Context(), app); err != nil {
			t.Fatal(err)
		}
		dead := sixfoldtest.Dead[OrderPlaced](t, kit.Inbox)
		if len(dead) != 1 || time.Since(begun) < 20*time.Second {
			t.Errorf("dead letters %v after %v", dead, time.Since(begun))
		}
	})
}

// The same message twice, as after the death of a consumer.
func ExampleReceiver() {
	ctx := context.Background()
	kit := sixfoldtest.New()
	shipping, err := NewShipping(kit)
	if err != nil {
		panic(err)
	}
	receiver, err := sixfoldtest.NewReceiver("shipping", nil, shipping.Route)
	if err != nil {
		panic(err)
	}
	env, err := sixfold.NewEnvelope(ctx, "shop", nil, OrderPlaced{OrderID: "o-1"})
	if err != nil {
		panic(err)
	}
	err = receiver.DeliverEnvelopes(ctx, env, env)
	fmt.Println(err, shipping.Shipped)
	// Output: <nil> map[o-1:1]
}

// What a handler answers comes back, with what became of the message.
func ExampleReceiver_Deliver() {
	ctx := context.Background()
	kit := sixfoldtest.New()
	shipping, err := NewShipping(kit)
	if err != nil {
		panic(err)
	}
	shipping.Truck = errors.New("there is no truck")
	receiver, err := sixfoldtest.NewReceiver("shipping", nil, shipping.Route)
	if err != nil {
		panic(err)
	}
	err = receiver.Deliver(ctx, OrderPlaced{OrderID: "o-1"})
	var undelivered *sixfoldtest.UndeliveredError
	if errors.As(err, &undelivered) {
		fmt.Println(undelivered.Reason, undelivered.Err)
	}
	fmt.Println(errors.Is(err, shipping.Truck))
	// Output:
	// attempts there is no truck
	// true
}

// A message that comes after its time.
func ExampleLate() {
	ctx := context.Background()
	kit := sixfoldtest.New()
	shipping, err := NewShipping(kit)
	if err != nil {
		panic(err)
	}
	receiver, err := sixfoldtest.NewReceiver("shipping", nil, shipping.Route)
	if err != nil {
		panic(err)
	}
	env, err := sixfold.NewEnvelope(ctx, "shop", nil, OrderPlaced{OrderID: "o-1"})
	if err != nil {
		panic(err)
	}
	env.Expires = env.Time.Add(time.Hour)
	err = receiver.DeliverEnvelopes(ctx, sixfoldtest.Late(env, 2*time.Hour))
	var undelivered *sixfoldtest.UndeliveredError
	if errors.As(err, &undelivered) {
		fmt.Println(undelivered.Reason, len(shipping.Shipped))
	}
	// Output: expired 0
}

// What a transaction published, with where it goes. Nothing has to run for that.
func ExampleRecorder_All() {
	ctx := context.Background()
	kit := sixfoldtest.New()
	box, err := outbox.New(kit.Outbox, nil, outbox.To("orders", OrderPlaced{}), outbox.ToConsumer("depot", OrderPlaced{}))
	if err != nil {
		panic(err)
	}
	err = outbox.Do(ctx, box, kit.DB, func(ctx context.Context, tx *memory.Tx, u *outbox.Unit) error {
		u.Publish(OrderPlaced{OrderID: "o-1"}, outbox.Header("tenant", "acme"))
		return nil
	})
	if err != nil {
		panic(err)
	}
	all, err := kit.Outbox.All(ctx)
	if err != nil {
		panic(err)
	}
	for _, p := range all {
		fmt.Println(p.Envelope.Type, p.Envelope.Key, p.Envelope.Headers["tenant"], p.To, p.Local)
	}
	// Output:
	// orders.placed o-1 acme orders false
	// orders.placed o-1 acme depot true
}

// Quiet says what it is waiting for: here nobody runs the consumer.
func ExampleQuiet() {
	ctx := context.Background()
	kit := sixfoldtest.New()
	box, err := outbox.New(kit.Outbox, nil, outbox.ToConsumer("depot", OrderPlaced{}))
	if err != nil {
		panic(err)
	}
	err = outbox.Do(ctx, box, kit.DB, func(ctx context.Context, tx *memory.Tx, u *outbox.Unit) error {
		u.Publish(OrderPlaced{OrderID: "o-1"}, outbox.ID("0192f3a4-0000-7000-8000-000000000001"))
		return nil
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	err = sixfoldtest.Quiet(ctx, &sixfoldtest.App{Outboxes: []*sixfoldtest.Recorder{kit.Outbox}})
	fmt.Println(err)
	// Output: sixfoldtest: not quiet: context deadline exceeded; still open: orders.placed 0192f3a4-0000-7000-8000-000000000001 (key "o-1") for local consumer depot
}
