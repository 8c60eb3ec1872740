// Package api sends.
package api

import (
	"context"

	"example.com/shop/orders"

	"github.com/sixfold-go/sixfold/mediator"
)

func Serve(ctx context.Context, m *mediator.Mediator) error {
	if _, err := mediator.Send(ctx, m, orders.Place{}); err != nil {
		return err
	}
	if _, err := mediator.Query[orders.Price](ctx, m, orders.Price{}); err != nil {
		return err
	}
	if _, err := mediator.Send(ctx, m, orders.Cancel{}); err != nil {
		return err
	}
	return mediator.Publish(ctx, m, orders.Placed{})
}
