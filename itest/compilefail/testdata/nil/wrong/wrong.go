// Package wrong passes nil as the transaction.
package wrong

import (
	"context"

	"github.com/sixfold-go/sixfold/outbox"
)

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

func publish(ctx context.Context, box *outbox.Outbox) error {
	_, err := box.Publish(ctx, nil, placed{"1"})
	return err
}
