package rabbittest

import (
	"context"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// OrderPlaced is the message of the documentation.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// rabbitShop consumes orders from RabbitMQ, in order.
func rabbitShop(url string, handle func(ctx context.Context, m OrderPlaced) error, opts *bus.Options) (*rabbitmq.Transport, *bus.Consumer, error) {
	shipping := bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}
	broker, err := rabbitmq.New(url, &rabbitmq.Options{Groups: []bus.Subscription{shipping}})
	if err != nil {
		return nil, nil, err
	}
	consumer, err := bus.NewConsumer(broker, shipping, opts, sixfold.On(handle))
	return broker, consumer, err
}

// rabbitTopology is one that a team describes itself: a queue for what is urgent, beside the groups' own.
func rabbitTopology() (*rabbitmq.Topology, error) {
	return rabbitmq.NewTopology(
		rabbitmq.Exchange{Name: "orders", Kind: "topic"},
		rabbitmq.Queue{Name: "audit", DeliveryLimit: 100},
		rabbitmq.Binding{From: "orders", To: "audit", Key: "orders.#"},
	)
}

// The code of docs/transport-rabbitmq.md works together: what is sent before the consumer runs waits for it.
func TestDocumentation(t *testing.T) {
	server := servers.RabbitMQ(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	topology, err := rabbitTopology()
	if err != nil {
		t.Fatal(err)
	}
	admin, err := rabbitmq.New(server.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.Background())
	if err := admin.DeclareTopology(ctx, topology); err != nil {
		t.Fatal(err)
	}
	handled := make(chan string, 2)
	broker, consumer, err := rabbitShop(server.URL(), func(_ context.Context, m OrderPlaced) error {
		handled <- m.OrderID
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close(context.Background())
	publisher, err := bus.NewPublisher(broker, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close(context.Background())
	for _, id := range []string{"o-1", "o-2"} {
		if _, err := publisher.Publish(ctx, "orders", OrderPlaced{OrderID: id}); err != nil {
			t.Fatal(err)
		}
	}
	ran := make(chan error)
	go func() { ran <- sixfold.Run(ctx, consumer) }()
	got := map[string]bool{<-handled: true, <-handled: true}
	if !got["o-1"] || !got["o-2"] {
		t.Errorf("handled %v", got)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	conn, ch := (&fixture{TB: t, server: server}).raw(t)
	defer conn.Close()
	if d, ok, err := ch.Get("audit", true); err != nil || !ok || d.Type != "orders.placed" {
		t.Errorf("the described queue has %v, %v", ok, err)
	}
}
