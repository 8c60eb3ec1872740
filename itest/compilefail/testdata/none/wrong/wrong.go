// Package wrong passes no transaction.
package wrong

import (
	"context"

	"github.com/sixfold-go/sixfold/outbox"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox) error {
	_, err := box.Publish(ctx, placed{"1"})
	return err
}
