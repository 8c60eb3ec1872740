package sqstest

import (
	"context"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// OrderPlaced is the message of the documentation.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// sqsShop consumes orders from SQS, in order.
func sqsShop(ctx context.Context, options sqs.Options, handle func(ctx context.Context, m OrderPlaced) error, opts *bus.Options) (*sqs.Transport, *bus.Consumer, error) {
	shipping := bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}
	options.Groups = []bus.Subscription{shipping}
	broker, err := sqs.New(ctx, &options)
	if err != nil {
		return nil, nil, err
	}
	consumer, err := bus.NewConsumer(broker, shipping, opts, sixfold.On(handle))
	return broker, consumer, err
}

// sqsTopology is one that a team describes itself: a queue for an audit, beside the groups' own.
func sqsTopology() (*sqs.Topology, error) {
	return sqs.NewTopology(
		sqs.Topic{Name: "orders.fifo"},
		sqs.Queue{Name: "audit.fifo", Retention: 24 * time.Hour},
		sqs.Subscription{Topic: "orders.fifo", Queue: "audit.fifo"},
	)
}

// The code of docs/transport-sqs.md works together: what is sent before the consumer runs waits for it, and a planned stop leaves
// nothing behind.
// guarantees: R2
func TestDocumentation(t *testing.T) {
	server := servers.PrivateAWS(t, servers.Fauxqs)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	topology, err := sqsTopology()
	if err != nil {
		t.Fatal(err)
	}
	admin := connect(t, fast(server.URL(), sqs.Options{}))
	states := func() map[bus.PartState]int {
		t.Helper()
		parts, err := admin.CheckTopology(ctx, topology)
		if err != nil {
			t.Fatal(err)
		}
		n := map[bus.PartState]int{}
		for _, p := range parts {
			n[p.State]++
		}
		return n
	}
	if n := states(); n[bus.Missing] != 3 {
		t.Errorf("before the declaration: %v", n)
	}
	for range 2 {
		if err := admin.DeclareTopology(ctx, topology); err != nil {
			t.Fatal(err)
		}
	}
	if n := states(); n[bus.Missing] != 0 || n[bus.There] < 2 {
		parts, _ := admin.CheckTopology(ctx, topology)
		t.Errorf("after it: %v", parts)
	}
	handled := make(chan string, 2)
	running, end := context.WithCancel(ctx)
	broker, consumer, err := sqsShop(ctx, *fast(server.URL(), sqs.Options{}), func(_ context.Context, m OrderPlaced) error {
		handled <- m.OrderID
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	publisher, err := bus.NewPublisher(broker, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"o-1", "o-2"} {
		if _, err := publisher.Publish(ctx, "orders", OrderPlaced{OrderID: id}); err != nil {
			t.Fatal(err)
		}
	}
	ran := make(chan error)
	go func() { ran <- sixfold.Run(running, consumer) }()
	got := map[string]bool{<-handled: true, <-handled: true}
	if !got["o-1"] || !got["o-2"] {
		t.Errorf("handled %v", got)
	}
	end()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	if err := publisher.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := broker.Close(ctx); err != nil {
		t.Error(err)
	}
	q, _ := clients(t, server.URL())
	for name, want := range map[string]string{"shipping--orders.fifo": "0", "audit.fifo": "2"} {
		if n := waiting(t, q, name); n != want {
			t.Errorf("queue %s has %s messages, want %s", name, n, want)
		}
	}
}
