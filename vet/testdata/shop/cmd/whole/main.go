// Command whole handles everything.
package main

import (
	"context"
	"slices"

	"example.com/shop/api"
	"example.com/shop/archive"
	"example.com/shop/orders"

	"github.com/sixfold-go/sixfold/mediator"
)

func main() {
	m, err := mediator.New(nil, slices.Concat(orders.Routes(), archive.Routes())...)
	if err != nil {
		panic(err)
	}
	_ = api.Serve(context.Background(), m)
}
