package main

import (
	"context"
	"errors"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
)

// GetStock asks the warehouse how many of an item there are.
type GetStock struct {
	sixfold.Returns[int] `json:"-"`

	Item string `json:"item"`
}

func (GetStock) MessageName() string { return "warehouse.stock" }

// Quote is an offer.
type Quote struct {
	Item  string `json:"item"`
	Cents int    `json:"cents"`
}

// OutOfStock is what the business says instead: a reply like any other.
type OutOfStock struct {
	Item string `json:"item"`
}

// QuoteResult is one of the two.
type QuoteResult = request.Result[Quote, OutOfStock]

// GetQuote asks the shop for an offer.
type GetQuote struct {
	sixfold.Returns[QuoteResult] `json:"-"`

	Item string `json:"item"`
}

func (GetQuote) MessageName() string { return "shop.quote" }

// Warehouse answers GetStock.
type Warehouse struct {
	stock map[string]int
	hold  chan struct{} // what "slow" waits for
}

var errShelf = errors.New("the shelf has collapsed in aisle 7")

// Stock is a handler: a function of a context and a message.
func (w *Warehouse) Stock(ctx context.Context, q GetStock) (int, error) {
	switch q.Item {
	case "slow":
		select {
		case <-w.hold:
		case <-ctx.Done(): // the caller's deadline
			return 0, ctx.Err()
		}
	case "broken":
		return 0, errShelf // which stays in this service's log
	}
	return w.stock[q.Item], nil
}

// Shop answers GetQuote, for which it asks the warehouse.
type Shop struct{ warehouse *request.Client }

// Quote passes its context on, and with it the deadline of its own caller, the correlation and the trace.
func (s *Shop) Quote(ctx context.Context, q GetQuote) (res QuoteResult, err error) {
	n, err := request.Send(ctx, s.warehouse, GetStock{Item: q.Item})
	if err != nil {
		return res, err
	}
	if n == 0 {
		return res.Reject(OutOfStock{Item: q.Item}), nil
	}
	return res.Accept(Quote{Item: q.Item, Cents: 1900}), nil
}
