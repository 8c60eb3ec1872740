// Package inctx holds the keys of context values that more than one package answers. A context type of one of them, such
// as the mediator's, answers them itself and spares the allocations of context.WithValue.
package inctx

// Info finds the *sixfold.Info of the delivery that a context belongs to.
type Info struct{}

// Pass finds the *pass.Pass of the nearest chain of middleware.
type Pass struct{}

// Branch finds a value that is another one in each of several handlers that run side by side, or nothing. What belongs to
// one goroutine, such as a transaction, is handed out only where it is still the value of the place where it was opened.
type Branch struct{}
