// Package saga keeps the state of a long conversation between messages: a process that begins with one message, hears of
// many others, waits, and ends. There is no process manager. A saga is rows and handlers: the state of an instance is loaded,
// handled and saved in the transaction that records the message, together with what it sends and the timers that it sets.
//
//	box, err := saga.NewBox(inboxBox, out, st.Sagas(), nil)
//	renewal, err := saga.Define("renewal", box,
//		saga.StartedBy(func(m Subscribed) string { return m.ID }, subscribed),
//		saga.On(func(m Paid) string { return m.ID }, paid),
//		saga.OnTimeout(due))
//	consumer, err := bus.NewConsumer(broker, bus.Subscription{Group: "billing", …}, nil, renewal.Routes()...)
//
// Each step is a function of the transaction, the state, the message and the Effects. The state is a plain struct. Instances
// are found by the key that a function takes from each message, and two messages for one instance wait for each other.
//
// # What may be built upon
//
// The exported names are the contract. Package saga/flow stands on them: its state is a struct like any other, its replies are steps
// made by OnHeard, its timers by OnTimeoutHeard, and Effects.Become moves an instance to the statuses that the event form has no word
// for (Compensating, Compensated, Stuck).
package saga
