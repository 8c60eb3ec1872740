// Package kafka sends and receives over Apache Kafka, and what speaks its protocol.
//
//	broker, err := kafka.New("kafka://127.0.0.1:9092", &kafka.Options{Topics: []string{"orders"}})
//	…
//	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
//	consumer, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, nil, …)
//
// A topic is a topic. The key of a message is the key of its record, and decides the partition by the hash that Java's
// producer has by default (murmur2), so that other producers agree; what has no key goes to one partition after the
// other. Declare and Subscribe make topics that are not there (Options.Require forbids it); sending never does.
//
// A group is a consumer group of Kafka's. What it has settled is committed without gaps: a partition's committed offset
// is that of its first message which is not settled. Kafka redelivers no single message, so what is released waits in the
// member that holds its partition, in its place.
//
// Each sender and each source has a client of its own. A sender sends with sequence numbers (an idempotent producer),
// never twice, and never reconnects. A source reconnects.
package kafka
