package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// A consumer of one topic, and a publisher that sends to it.
func Example() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	broker := memory.New(&memory.Options{Topics: []string{"orders"}})
	defer broker.Close(ctx)

	consumer, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, nil,
		sixfold.On(func(ctx context.Context, m OrderPlaced) error {
			fmt.Println("ship", m.OrderID, "attempt", sixfold.InfoFrom(ctx).Attempt)
			stop() // the example ends here; Run lets the handler finish and acknowledges its message
			return nil
		}))
	if err != nil {
		fmt.Println(err)
		return
	}

	publisher, err := bus.NewPublisher(broker, &bus.PublisherOptions{Source: "shop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer publisher.Close(ctx)
	if _, err := publisher.Publish(ctx, "orders", OrderPlaced{OrderID: "o-1"}); err != nil {
		fmt.Println(err)
		return
	}

	fmt.Println(sixfold.Run(ctx, consumer))
	fmt.Println(broker.Pending("orders"), "pending")
	// Output:
	// ship o-1 attempt 1
	// <nil>
	// 0 pending
}

// After its last attempt a message goes to "<topic>.dead". Who reads that topic can repair the cause and send the message
// back as it was.
func ExampleConsumer_deadLetters() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	broker := memory.New(&memory.Options{Topics: []string{"orders", "orders.dead"}})
	defer broker.Close(ctx)
	publisher, err := bus.NewPublisher(broker, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer publisher.Close(ctx)

	carrierIsOpen := make(chan struct{})
	shipping, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true},
		&bus.Options{
			Retry:  sixfold.Retry{MaxAttempts: 2, MaxBackoff: time.Millisecond},
			Logger: slog.New(slog.DiscardHandler),
			Hooks:  bus.Hooks{Dead: func(d *bus.Delivery, reason string, err error) { fmt.Println("dead:", reason, "-", err) }},
		},
		sixfold.On(func(ctx context.Context, m OrderPlaced) error {
			select {
			case <-carrierIsOpen:
				fmt.Println("ship", m.OrderID)
				stop()
				return nil
			default:
				return errors.New("the carrier is closed")
			}
		}))
	if err != nil {
		fmt.Println(err)
		return
	}

	redrive, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders.dead"}, Group: "redrive"}, nil,
		sixfold.Raw(func(ctx context.Context, env *sixfold.Envelope) error {
			close(carrierIsOpen) // the cause is repaired

			again := *env
			again.Headers = maps.Clone(env.Headers)
			maps.DeleteFunc(again.Headers, func(key, _ string) bool { return sixfold.IsReservedHeader(key) })
			topic := strings.TrimSuffix(sixfold.InfoFrom(ctx).Topic, bus.DeadSuffix)
			return publisher.PublishEnvelopes(ctx, topic, []*sixfold.Envelope{&again})
		}))
	if err != nil {
		fmt.Println(err)
		return
	}

	if _, err := publisher.Publish(ctx, "orders", OrderPlaced{OrderID: "o-1"}); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sixfold.Run(ctx, shipping, redrive))
	// Output:
	// dead: attempts - the carrier is closed
	// ship o-1
	// <nil>
}

// Everything that is wrong is said at once, before anything is connected.
func ExampleNewConsumer() {
	_, err := bus.NewConsumer(memory.New(nil), bus.Subscription{Topics: []string{"orders.*"}}, &bus.Options{Concurrency: -1})
	fmt.Println(err)
	// Output:
	// sixfold: invalid topic "orders.*": '*' is a wildcard of some brokers; use letters, digits, dots and dashes
	// bus: consumer options: invalid Concurrency -1: give 1 to 10,000, or 0 for 16
	// bus: consumer "": invalid routes: there are none; make some with sixfold.On, sixfold.Raw or inbox.On
}
