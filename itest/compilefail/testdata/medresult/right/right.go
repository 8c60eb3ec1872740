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

func send(ctx context.Context, m *mediator.Mediator) (string, error) {
	id, err := mediator.Send(ctx, m, create{})
	return id, err
}
