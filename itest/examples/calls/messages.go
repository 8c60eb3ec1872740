// Package calls holds the examples of docs/mediator.md and docs/middleware.md: a shop whose commands, queries and
// notifications go through a mediator.
package calls

import (
	"errors"
	"iter"

	"github.com/sixfold-go/sixfold"
)

// CreateOrder is a command; its handler answers the new order's id.
type CreateOrder struct {
	sixfold.Returns[string] `json:"-"`

	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
}

func (CreateOrder) MessageName() string { return "orders.create" }

func (c CreateOrder) Validate() error {
	if c.Cents <= 0 {
		return errors.New("an order costs something")
	}
	return nil
}

// FindOrder is a query; its handler answers the customer.
type FindOrder struct {
	sixfold.Returns[string] `json:"-"`

	ID string `json:"id"`
}

func (FindOrder) MessageName() string { return "orders.find" }

// ListOrders is a query whose answer is a sequence.
type ListOrders struct {
	sixfold.Returns[iter.Seq2[string, error]] `json:"-"`
}

func (ListOrders) MessageName() string { return "orders.list" }

// CancelOrder is a command without a result.
type CancelOrder struct {
	sixfold.Returns[struct{}] `json:"-"`

	ID string `json:"id"`
}

func (CancelOrder) MessageName() string { return "orders.cancel" }

// OrderCreated is a notification.
type OrderCreated struct {
	ID string `json:"id"`
}

func (OrderCreated) MessageName() string  { return "orders.created" }
func (n OrderCreated) MessageKey() string { return n.ID }
