// Package bus receives messages from a broker and runs their handlers: in order per key, many keys at once, settled
// only after the handler. It holds what a broker driver implements (Transport, Sender, Source) and what users hold
// (Consumer, Publisher).
//
//	consumer, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true},
//		&bus.Options{Inbox: box}, inbox.On(box, ship))
//	…
//	err = sixfold.Run(ctx, relay, consumer)
//
// Retries, lanes, drain and dead letters live here once, the same for every broker; drivers are small and never
// retry. Package bustest has the conformance suite of the driver's contract.
package bus
