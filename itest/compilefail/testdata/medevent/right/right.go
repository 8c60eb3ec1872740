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

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, m *mediator.Mediator) error {
	return mediator.Publish(ctx, m, placed{"o-1"})
}
