// Command opaque makes routes of types that nobody knows, and is not reported.
package main

import (
	"context"
	"slices"

	"example.com/shop/api"
	"example.com/shop/orders"

	"github.com/sixfold-go/sixfold"

	"github.com/sixfold-go/sixfold/mediator"
)

func main() {
	routes := append(orders.Routes(), nothing[orders.Cancel]())
	m, err := mediator.New(nil, slices.Clip(routes)...)
	if err != nil {
		panic(err)
	}
	_ = api.Serve(context.Background(), m)
}

func nothing[C sixfold.Command[struct{}]]() mediator.Route {
	return mediator.OnPlain(func(context.Context, C) error { return nil })
}
