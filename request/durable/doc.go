// Package durable asks for what must be answered although processes end: the request is a message of the outbox, in the
// caller's transaction, and the reply a message that comes to a handler of the requester, whenever it comes.
//
//	requests, err := durable.New(ob, box, &durable.Options{ReplyTo: "shop.replies", Scheduler: scheduler})
//	…
//	id, err := requests.Ask(ctx, tx, GetQuote{Item: "lamp"}, time.Hour) // an hour is the deadline; 0: none
//
// The other side answers in the transaction of its effect, once for each request:
//
//	route := durable.Answer(requests, func(ctx context.Context, tx *sql.Tx, q GetQuote) (Quote, error) { … })
//
// and what came of it, in time or late, comes to a handler of the requester like any message:
//
//	route := durable.On(requests, func(ctx context.Context, tx *sql.Tx, o durable.Outcome[GetQuote, Quote]) error { … })
//
// Both routes are those of ordinary consumers: of the topic to which the outbox sends the request, and of ReplyTo. It needs
// nothing of a transport but what every one has, so it is the way in which SQS carries replies.
package durable
