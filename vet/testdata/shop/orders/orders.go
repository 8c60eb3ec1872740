// Package orders has messages, and handlers of some of them.
package orders

import (
	"context"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

type Place struct {
	sixfold.Returns[string] `json:"-"`
	Item                    string
}

func (Place) MessageName() string { return "orders.place" }

type Cancel struct {
	sixfold.Returns[struct{}] `json:"-"`
}

func (Cancel) MessageName() string { return "orders.cancel" }

type Price struct {
	sixfold.Returns[int] `json:"-"`
}

func (Price) MessageName() string { return "orders.price" }

// Archive is declared and nobody sends it.
type Archive struct {
	sixfold.Returns[struct{}] `json:"-"`
}

func (Archive) MessageName() string { return "orders.archive" }

// Placed is a notification, which needs no handler.
type Placed struct{}

func (Placed) MessageName() string { return "orders.placed" }

func Messages() []sixfold.Message {
	return []sixfold.Message{Place{}, Archive{}, Placed{}}
}

// Outgoing are not declared: what is called Messages alone is.
func Outgoing() []sixfold.Message {
	return []sixfold.Message{Cancel{}}
}

func Routes() []mediator.Route {
	return []mediator.Route{
		mediator.OnCommand(func(context.Context, Place) (string, error) { return "", nil }),
	}
}
