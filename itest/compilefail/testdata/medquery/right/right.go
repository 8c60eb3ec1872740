// Package right mends its twin.
package right

import (
	"context"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

type create struct {
	sixfold.Returns[string] `json:"-"`
}

func (create) MessageName() string { return "orders.create" }

func route(h func(context.Context, create) (string, error)) mediator.Route {
	return mediator.OnCommand(h)
}
