package main

import "github.com/sixfold-go/sixfold/bus"

// What the services say to each other, and where. Everything about one order has its id as the key, so it stays in order.

// OrderPlaced asks for money.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
	Cents   int    `json:"cents"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// PaymentTaken says that the money is there.
type PaymentTaken struct {
	OrderID string `json:"order_id"`
}

func (PaymentTaken) MessageName() string  { return "payments.taken" }
func (m PaymentTaken) MessageKey() string { return m.OrderID }

// PaymentRefused says that there will be none.
type PaymentRefused struct {
	OrderID string `json:"order_id"`
	Why     string `json:"why"`
}

func (PaymentRefused) MessageName() string  { return "payments.refused" }
func (m PaymentRefused) MessageKey() string { return m.OrderID }

var (
	toPayments = bus.Subscription{Topics: []string{"orders"}, Group: "payments", Ordered: true}
	toOrders   = bus.Subscription{Topics: []string{"payments"}, Group: "orders", Ordered: true}
)
