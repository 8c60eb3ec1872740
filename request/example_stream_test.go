package request_test

import (
	"context"
	"fmt"
	"iter"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// ListPrices asks for all prices of a maker's, which may be many.
type ListPrices struct {
	sixfold.Returns[iter.Seq2[Price, error]] `json:"-"`

	Maker string
}

func (ListPrices) MessageName() string { return "prices.list" }

type Price struct {
	Item  string
	Cents int
}

// prices yields as the caller reads. An error would be yielded too, as the last pair.
func prices(_ context.Context, q ListPrices) iter.Seq2[Price, error] {
	return func(yield func(Price, error) bool) {
		for n := 1; n <= 1_000_000; n++ {
			if !yield(Price{fmt.Sprint(q.Maker, " ", n), 100 * n}, nil) {
				return // the caller wants no more, or has gone
			}
		}
	}
}

func ExampleStream() {
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		panic(err)
	}
	responder, err := request.Serve(lane, nil, request.OnStream(prices))
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- responder.Run(ctx) }()
	<-responder.Listening()
	client, err := request.NewClient(lane, nil)
	if err != nil {
		panic(err)
	}

	for price, err := range request.Stream(ctx, client, ListPrices{Maker: "Acme"}) {
		if err != nil {
			fmt.Println("not all of them:", err)
			break
		}
		fmt.Println(price.Item, "costs", price.Cents)
		if price.Cents == 300 {
			break // and the handler's yield answers false
		}
	}

	stop()
	fmt.Println(<-done, client.Close(context.Background()))
	// Output:
	// Acme 1 costs 100
	// Acme 2 costs 200
	// Acme 3 costs 300
	// <nil> <nil>
}

// GetStock asks how many of an item there are; each warehouse knows its own.
type GetStock struct {
	sixfold.Returns[int] `json:"-"`

	Item string
}

func (GetStock) MessageName() string { return "stock.get" }

func ExampleScatter() {
	lane, err := memory.NewRequestLane(nil)
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	for _, n := range []int{3, 4, 5} {
		warehouse, err := request.Serve(lane, nil, request.On(func(context.Context, GetStock) (int, error) { return n, nil }))
		if err != nil {
			panic(err)
		}
		go func() { done <- warehouse.Run(ctx) }()
		<-warehouse.Listening()
	}
	client, err := request.NewClient(lane, nil)
	if err != nil {
		panic(err)
	}

	total := 0
	asked := request.Scatter(ctx, client, GetStock{Item: "lamp"}, request.Want(3))
	for a := range asked.Answers() {
		if a.Err == nil {
			total += a.Result
		}
	}
	fmt.Println(total, "lamps; all that were wanted:", asked.Err() == nil && !asked.ByDeadline())

	stop()
	fmt.Println(<-done, <-done, <-done, client.Close(context.Background()))
	// Output:
	// 12 lamps; all that were wanted: true
	// <nil> <nil> <nil> <nil>
}
