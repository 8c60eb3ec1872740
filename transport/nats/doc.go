// Package nats sends and receives over NATS JetStream.
//
//	broker, err := nats.New("nats://127.0.0.1:4222", &nats.Options{Topics: []string{"orders"}})
//	…
//	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
//	consumer, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, nil, …)
//
// A topic is a stream. Its subjects are lanes, "orders.0" to "orders.15", to which the key of a message is hashed; a
// stream that was made by hand for the plain subject "orders" is used as it is, as a single lane. Declare and Subscribe
// make the streams that are not there (Options.Require forbids it); sending never does, so that what nobody declared is
// unroutable.
//
// Each sender and each source has a connection of its own, which never reconnects: the client's reconnecting loses
// what is in flight and then goes on with what comes after it, which would break the order of keys. A connection of
// the user's own is used for looking streams up, and its options for the others; it is never closed.
//
// JetStream acknowledges a message before it is on the disk: by default the server syncs every two minutes, and a crash
// of the machine, not of the process, loses what came since. Set sync_interval: always in the server's configuration, or
// use three replicas.
package nats
