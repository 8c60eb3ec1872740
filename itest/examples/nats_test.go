package examples

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// natsShop consumes orders from JetStream, in order.
func natsShop(url string, handle func(ctx context.Context, m OrderPlaced) error, opts *bus.Options) (*nats.Transport, *bus.Consumer, error) {
	broker, err := nats.New(url, &nats.Options{Topics: []string{"orders"}})
	if err != nil {
		return nil, nil, err
	}
	shipping, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, opts,
		sixfold.On(handle))
	return broker, shipping, err
}

// A dead letter reaches its topic. Who reads it with Sixfold sees the message, and no header that this side did not write;
// sent back within the window of the stream, it is dropped there. The documentation says so.
func TestNATSDeadLetters(t *testing.T) {
	server := servers.NATS(t, nil)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	tried, dead := make(chan int, 10), make(chan string, 1)
	broker, shipping, err := natsShop(server.URL(), func(ctx context.Context, m OrderPlaced) error {
		tried <- sixfold.InfoFrom(ctx).Attempt
		return sixfold.Permanent(errors.New("there is no such order"))
	}, &bus.Options{Hooks: bus.Hooks{Dead: func(_ *bus.Delivery, reason string, _ error) { dead <- reason }}})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close(context.Background())
	publisher, err := bus.NewPublisher(broker, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer publisher.Close(context.Background())

	letters := make(chan *sixfold.Envelope, 1)
	morgue, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders.dead"}, Group: "morgue"}, nil,
		sixfold.Raw(func(ctx context.Context, env *sixfold.Envelope) error {
			again := *env
			letters <- &again
			return nil
		}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.Publish(ctx, "orders", OrderPlaced{OrderID: "o-1"}); err != nil {
		t.Fatal(err)
	}
	ran := make(chan error)
	go func() { ran <- sixfold.Run(ctx, shipping, morgue) }()
	<-tried
	if reason := <-dead; reason != "permanent" {
		t.Errorf("the reason is %q", reason)
	}
	letter := <-letters
	for k := range letter.Headers {
		if strings.HasPrefix(k, "sixfold-") {
			t.Errorf("header %s of a dead letter can be read now: change docs/bus.md, which says that it cannot", k)
		}
	}
	second := OrderPlaced{OrderID: "o-1"} // of the same key, so that it comes after the copy
	if err := publisher.PublishEnvelopes(ctx, "orders", []*sixfold.Envelope{letter}); err != nil {
		t.Fatal(err)
	}
	if _, err := publisher.Publish(ctx, "orders", second); err != nil {
		t.Fatal(err)
	}
	<-tried
	if reason := <-dead; reason != "permanent" {
		t.Errorf("the reason is %q", reason)
	}
	if third := <-letters; third.ID == letter.ID {
		t.Error("a copy that was sent back at once is not dropped: change docs/bus.md, which says that it is")
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
