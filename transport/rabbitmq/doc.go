// Package rabbitmq sends and receives over RabbitMQ, with AMQP 0-9-1.
//
//	broker, err := rabbitmq.New("amqp://user:password@127.0.0.1:5672/", &rabbitmq.Options{Topics: []string{"orders"}})
//	…
//	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
//	consumer, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, nil, …)
//
// A topic is an exchange, a fanout unless one of that name is there already. A group has a durable queue per topic that is
// bound to it, "shipping@orders"; a copy has one that goes with its connection. Declare and Subscribe make what is not
// there (Options.Require forbids it); sending never does, so that what nobody declared is unroutable. So is what no
// queue is bound for: RabbitMQ itself would confirm it and forget it.
//
// Queues are quorum queues, with an explicit delivery limit that is far beyond what the inbox counts, or classic ones on
// request. The queue of an ordered group has a single active consumer: one member works, the others stand by.
//
// Each sender and each source has a connection of its own, or a channel of its own on the connection that was given to
// NewConn. A sender never reconnects. A source does, and declares and binds again what it needs.
package rabbitmq
