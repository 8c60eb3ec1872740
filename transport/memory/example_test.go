package memory_test

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

func Example() {
	ctx := context.Background()
	broker := memory.New(&memory.Options{Topics: []string{"orders"}})
	defer broker.Close(ctx)

	sender, err := broker.Open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	results := sender.Send(ctx, []bus.Outgoing{
		{Topic: "orders", Envelope: &sixfold.Envelope{ID: sixfold.NewID(), Type: "orders.placed", Key: "order-7", Body: []byte(`{"total":12}`)}},
		{Topic: "nowhere", Envelope: &sixfold.Envelope{ID: sixfold.NewID(), Type: "orders.placed"}},
	}).Wait(ctx)
	fmt.Println(results[0])
	fmt.Println(results[1])

	source, err := broker.Subscribe(ctx, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	deliveries, err := source.Receive(ctx, 10)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range deliveries {
		fmt.Println(d.Topic, d.Key, string(d.Body))
		source.Settle(ctx, []bus.Settlement{{Delivery: d}})
	}
	fmt.Println(broker.Pending("orders"), "pending")
	// Output:
	// <nil>
	// memory: send to "nowhere": the broker has no place for the topic; declare it, or subscribe a group
	// orders order-7 {"total":12}
	// 0 pending
}
