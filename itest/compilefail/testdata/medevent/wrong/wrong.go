// Package wrong sends an event as a command.
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

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func send(ctx context.Context, m *mediator.Mediator) error {
	_, err := mediator.Send(ctx, m, placed{"o-1"})
	return err
}
