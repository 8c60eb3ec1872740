// Package sixfold holds the vocabulary that every other package of Sixfold shares: messages, envelopes, handlers,
// routes and errors.
//
// A message is a plain value with a stable name:
//
//	type OrderPlaced struct{ OrderID string }
//
//	func (OrderPlaced) MessageName() string  { return "orders.placed" }
//	func (m OrderPlaced) MessageKey() string { return m.OrderID }
//
// Package outbox publishes it in the caller's own database transaction and relays it after the commit; package bus
// receives it and runs the routes that On makes; package inbox makes a handler's effect happen once.
//
// This package imports nothing outside the standard library, and neither does any other package of its module.
package sixfold
