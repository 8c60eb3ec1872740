// Package wrong takes a result of another type.
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

func send(ctx context.Context, m *mediator.Mediator) (int, error) {
	id, err := mediator.Send(ctx, m, create{})
	return id, err
}
