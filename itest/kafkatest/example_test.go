package kafkatest

import (
	"context"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// OrderPlaced is the message of the documentation.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// kafkaShop consumes orders from Kafka, in order.
func kafkaShop(address string, handle func(ctx context.Context, m OrderPlaced) error, opts *bus.Options) (*kafka.Transport, *bus.Consumer, error) {
	broker, err := kafka.New(address, &kafka.Options{Topics: []string{"orders"}})
	if err != nil {
		return nil, nil, err
	}
	shipping := bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}
	consumer, err := bus.NewConsumer(broker, shipping, opts, sixfold.On(handle))
	return broker, consumer, err
}

// kafkaTopology is one that a team describes itself.
func kafkaTopology() (*kafka.Topology, error) {
	return kafka.NewTopology(
		kafka.Topic{Name: "orders", Partitions: 24, Replication: 3, Config: map[string]string{"min.insync.replicas": "2"}},
		kafka.Topic{Name: "prices", Partitions: 6, Config: map[string]string{"cleanup.policy": "compact"}},
	)
}

// The code of docs/transport-kafka.md works.
func TestDocumentation(t *testing.T) {
	f := newFake(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	topology, err := kafkaTopology()
	if err != nil {
		t.Fatal(err)
	}
	admin, _ := f.connect(t, fast(kafka.Options{}))
	if err := admin.DeclareTopology(ctx, topology); err != nil {
		t.Fatal(err)
	}
	if parts, err := admin.CheckTopology(ctx, topology); err != nil || len(parts) != 2 || parts[0].State != bus.There || parts[1].State != bus.There {
		t.Fatalf("%v, %v", parts, err)
	}
	handled := make(chan string, 2)
	broker, consumer, err := kafkaShop("kafka://"+f.seeds, func(_ context.Context, m OrderPlaced) error {
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
	running, end := context.WithCancel(ctx)
	go func() { ran <- sixfold.Run(running, consumer) }()
	got := map[string]bool{<-handled: true, <-handled: true}
	end()
	if err := <-ran; err != nil || !got["o-1"] || !got["o-2"] {
		t.Errorf("%v, %v", got, err)
	}
}
