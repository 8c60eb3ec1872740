// Package flow is the short way to write the common kind of saga: steps that send a command and wait for its reply, one after
// another or side by side, each with what undoes it. When a step is refused, or does not answer in time, what was done
// before is undone in reverse.
//
//	fulfilment, err := flow.New("fulfilment", box, nil,
//		flow.Begin(OrderPlaced.Number, func(s *Order, e OrderPlaced) error { … }),
//		flow.Step("reserve",
//			flow.Do(func(s *Order) ReserveStock { … }),
//			flow.Then(StockReserved.Number, func(s *Order, r StockReserved) error { … }),
//			flow.Refused(StockMissing.Number, func(s *Order, r StockMissing) error { … }),
//			flow.Undo(func(s *Order) ReleaseStock { … }, flow.Undone(StockReleased.Number)),
//		).Within(time.Minute),
//		flow.Step("pay", …).Pivot(),
//		flow.Step("ship", …))
//	consumer, err := bus.NewConsumer(broker, subscription, nil, fulfilment.Routes()...)
//
// A flow is a saga of package saga: a row and a journal for each instance, and handlers. A reply belongs to the command whose
// message id it carries as its causation, which is what every handler of this module publishes with. What is late, a
// duplicate or foreign is dropped and counted.
//
// What a participant has to do is said in docs/flow.md: each command once for its business key, Undo as well as Do, and an
// Undo that comes first keeps the Do that follows from taking effect.
package flow
