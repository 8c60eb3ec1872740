// Package mediator calls handlers in the process: the one of a command or a query, and all of a notification.
//
//	type CreateOrder struct {
//		sixfold.Returns[string] `json:"-"`
//		Customer string
//	}
//
//	func (CreateOrder) MessageName() string { return "orders.create" }
//
//	m, err := mediator.New(nil, mediator.OnCommand(func(ctx context.Context, c CreateOrder) (string, error) { … }))
//	…
//	id, err := mediator.Send(ctx, m, CreateOrder{Customer: "c-1"}) // id is a string
//
// Types are checked by the compiler and inferred: neither the result of another type nor an event sent as a command
// compiles. What is sent is a function call and nothing more: no bytes, no queue, no reflection. A panic of a command's handler
// is the caller's, unless a middleware recovers.
//
// Middleware is that of the rest of Sixfold. It sees an envelope without a body; Envelope.Message is the value itself.
package mediator
