// Command sender makes no mediator: what api sends is the business of who does.
package main

import (
	"context"
	"slices"

	"example.com/shop/api"

	"github.com/sixfold-go/sixfold/mediator"
)

func main() {
	var none []*mediator.Mediator
	for _, m := range slices.Clip(none) {
		_ = api.Serve(context.Background(), m)
	}
}
