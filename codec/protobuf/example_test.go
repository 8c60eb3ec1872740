package protobuf_test

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/codec/protobuf"
	shoppb "github.com/sixfold-go/sixfold/codec/protobuf/internal/testpb"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// OrderPlaced is the generated message with a name and a key.
type OrderPlaced struct{ *shoppb.OrderPlaced }

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.GetOrderId() }

func Example() {
	if err := ship(); err != nil {
		fmt.Println(err)
	}
	// Output: shipping o-1
}

func ship() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	broker := memory.New(&memory.Options{Topics: []string{"orders"}})
	defer broker.Close(ctx)
	codec, err := protobuf.New(nil)
	if err != nil {
		return err
	}
	publisher, err := bus.NewPublisher(broker, &bus.PublisherOptions{Codec: codec})
	if err != nil {
		return err
	}
	shipping, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping"},
		&bus.Options{Codecs: []sixfold.Codec{codec}},
		sixfold.On(func(ctx context.Context, m OrderPlaced) error {
			fmt.Println("shipping", m.GetOrderId())
			cancel()
			return nil
		}))
	if err != nil {
		return err
	}
	if _, err := publisher.Publish(ctx, "orders", OrderPlaced{&shoppb.OrderPlaced{OrderId: "o-1"}}); err != nil {
		return err
	}
	return shipping.Run(ctx)
}
