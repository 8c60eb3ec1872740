// Command lacking has forgotten package archive.
package main

import (
	"context"
	"slices"

	"example.com/shop/api"
	"example.com/shop/orders"

	"github.com/sixfold-go/sixfold/mediator"
)

func main() {
	m, err := mediator.New(nil, slices.Concat(orders.Routes())...)
	if err != nil {
		panic(err)
	}
	if err := mediator.Verify(orders.Routes(), Ping{}, orders.Placed{}); err != nil {
		panic(err)
	}
	_ = api.Serve(context.Background(), m)
}

type Ping struct{ orders.Cancel }
