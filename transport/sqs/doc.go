// Package sqs sends and receives over Amazon SQS and SNS.
//
//	broker, err := sqs.New(ctx, &sqs.Options{Region: "eu-central-1", Topics: []string{"orders"}})
//	…
//	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
//	consumer, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, nil, …)
//
// A topic is an SNS topic, and a group has a queue per topic that is subscribed to it with raw delivery. With
// Options.PointToPoint, and for dead letters, a topic is a queue of its own, which one group may read. Topics and queues
// are FIFO ones, in which the message group is the key, or standard ones on request, which keep no order. Declare and
// Subscribe make what is not there (Options.Require forbids it); sending never does, so that what nobody declared is
// unroutable, and so is a topic to which no queue is subscribed.
//
// An envelope travels as a CloudEvent in structured mode: one JSON text in the body of the message, whose attribute
// "content-type" says so. Binary mode would need an attribute of SQS for each of an event's, of which there are ten at most.
// Both modes are read.
//
// SQS takes the entries of a batch one by one, so a sender keeps one unconfirmed message per key. What it received stays
// ours for Options.Visibility and has to be extended while it is handled.
package sqs
