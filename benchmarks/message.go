package main

import "fmt"

// topic is where every message of the benchmarks goes.
const topic = "bench.orders"

// order is the message of every case: 256 bytes of JSON.
type order struct {
	Number   string `json:"number"`
	Customer string `json:"customer"`
	Cents    int    `json:"cents"`
	Note     string `json:"note"`

	key string
}

// MessageName implements sixfold.Message.
func (order) MessageName() string { return "bench.orders.placed" }

// MessageKey implements sixfold.Keyed.
func (o order) MessageKey() string { return o.key }

// makeOrder makes the order number n.
func makeOrder(n int, key string) order {
	return order{
		Number:   fmt.Sprintf("%012d", n),
		Customer: fmt.Sprintf("customer-%06d", n%1_000_000),
		Cents:    1000 + n%9000,
		Note:     notePadding,
		key:      key,
	}
}

// notePadding makes a body 256 bytes long.
const notePadding = "leave it with the neighbours leave it with the neighbours leave it with the neighbours " +
	"leave it with the neighbours leave it with the neighbours leave it with the neighbours leave"

// keysOf answers a function that spreads messages over n keys; none for 0.
func keysOf(n int) func(i int) string {
	if n == 0 {
		return func(int) string { return "" }
	}
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("order-%06d", i)
	}
	return func(i int) string { return keys[i%n] }
}
