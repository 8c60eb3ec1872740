package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
)

// Order is what the shop knows while an order is under way.
type Order struct {
	Number   string `json:"number"`
	Customer string `json:"customer"`
	Article  string `json:"article"`
	Cents    int64  `json:"cents"`
	Parcel   string `json:"parcel,omitempty"`
	Why      string `json:"why,omitempty"` // it is rejected
}

// newFulfilment is the way of an order: stock, payment, shipping. Once the carrier has the parcel there is no way back.
func newFulfilment(box *saga.Box[*sql.Tx], onEnd func(context.Context, flow.Ended)) (*flow.Flow[*sql.Tx, Order], error) {
	return flow.New("fulfilment", box, &flow.Options{OnEnd: onEnd},
		flow.Begin(OrderPlaced.MessageKey, func(s *Order, e OrderPlaced) error {
			*s = Order{Number: e.Order, Customer: e.Customer, Article: e.Article, Cents: e.Cents}
			return nil
		}),
		// The first step is undone last, when all is undone, which makes it the place to tell.
		flow.Step("accept",
			flow.Do(func(s *Order) OrderAccepted { return OrderAccepted{s.Number} }),
			flow.Undo(func(s *Order) OrderRejected { return OrderRejected{s.Number, s.Why} })),
		flow.Step("reserve",
			flow.Do(func(s *Order) ReserveStock { return ReserveStock{s.Number, s.Article} }),
			flow.Then(StockReserved.MessageKey, func(s *Order, r StockReserved) error { return nil }),
			flow.Refused(StockMissing.MessageKey, func(s *Order, r StockMissing) error { s.Why = "sold out"; return nil }),
			flow.Undo(func(s *Order) ReleaseStock { return ReleaseStock{s.Number} }, flow.Undone(StockReleased.MessageKey))).
			Within(time.Minute),
		flow.Step("pay",
			flow.Do(func(s *Order) TakePayment { return TakePayment{s.Number, s.Customer, s.Cents} }),
			flow.Then(PaymentTaken.MessageKey, func(s *Order, r PaymentTaken) error { return nil }),
			flow.Refused(PaymentRefused.MessageKey, func(s *Order, r PaymentRefused) error { s.Why = r.Why; return nil }),
			flow.Undo(func(s *Order) Refund { return Refund{s.Number} },
				flow.Undone(Refunded.MessageKey), flow.NotUndone(RefundImpossible.MessageKey))).
			Within(time.Minute).
			UndoAttempts(sixfold.Retry{MaxAttempts: 3, MaxBackoff: 20 * time.Millisecond}),
		flow.Step("ship",
			flow.Do(func(s *Order) Ship { return Ship{s.Number, s.Customer} }),
			flow.Then(Shipped.MessageKey, func(s *Order, r Shipped) error { s.Parcel = r.Parcel; return nil }),
			flow.Refused(ShippingRefused.MessageKey, func(s *Order, r ShippingRefused) error { s.Why = r.Why; return nil })).
			NoUndo("it waits for its answer as long as it takes, and a refused parcel never left the house").
			Pivot(),
		flow.Step("tell",
			flow.Do(func(s *Order) OrderShipped { return OrderShipped{s.Number, s.Parcel} })))
}
