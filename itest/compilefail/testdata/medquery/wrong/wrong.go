// Package wrong has a handler whose result is not that of its message.
package wrong

import (
	"context"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

type create struct {
	sixfold.Returns[string] `json:"-"`
}

func (create) MessageName() string { return "orders.create" }

func route(h func(context.Context, create) (int, error)) mediator.Route {
	return mediator.OnCommand(h)
}
