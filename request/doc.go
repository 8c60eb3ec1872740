// Package request calls a handler in another process and waits for its answer: typed, with one outcome for each call, and
// never longer than the call's deadline.
//
//	client, err := request.NewClient(lane, nil)
//	…
//	quote, err := request.Send(ctx, client, GetQuote{Symbol: "ACME"}) // quote is a Quote
//
// The other side turns functions, or a mediator's handlers, into a responder:
//
//	responder, err := request.Serve(lane, nil, request.On(func(ctx context.Context, q GetQuote) (Quote, error) { … }))
//	…
//	return sixfold.Run(ctx, responder)
//
// Stream ranges over what a handler yields (OnStream), Gather asks several destinations, and Scatter all who listen at one.
//
// A lane carries requests and replies: package transport/memory has one in the process, the drivers of brokers have
// others. docs/protocol.md has what travels, so that other languages can take part.
//
// A call ends with the reply; with a *Fault, by which the responder says that there is none and why, in one of six
// categories; with ErrTimeout, ErrCancelled or ErrLost, after which it is unknown whether the handler ran; or with an error
// that says that nothing was sent or nobody was there (ErrAtCapacity, ErrClosed, ErrNoResponder and others). What the
// business refuses is no fault but a reply: see Result.
//
// A request runs once or not at all, unless a network doubles it. Nothing here is stored: a request that has to survive
// the processes goes through package outbox.
package request
