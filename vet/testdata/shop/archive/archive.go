// Package archive has the other handlers.
package archive

import (
	"context"

	"example.com/shop/orders"

	"github.com/sixfold-go/sixfold/mediator"
)

func Routes() []mediator.Route {
	return []mediator.Route{
		mediator.OnPlain(func(context.Context, orders.Cancel) error { return nil }),
		mediator.OnPlain(func(context.Context, orders.Archive) error { return nil }),
		mediator.OnQuery[orders.Price](func(context.Context, orders.Price) (int, error) { return 0, nil }),
	}
}
