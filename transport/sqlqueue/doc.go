// Package sqlqueue makes a database the broker: topics, groups, order per key and redelivery, with nothing to run beside the
// database that the service has. It is a bus.Transport like any other, so that the step to a real broker is one line.
//
//	broker, err := sqlqueue.New(st.Broker(), nil) // st is the store of the database that is the broker
//
// Each group of a topic has a row for each message, from the send to the settling; a handler's consumer takes the rows by
// leases of 64 partitions, as a relay does. What a topic keeps (Keep) is one row more, for groups that come later.
//
// The broker's database may be another than that of the handlers: a message is recorded in the handlers' inbox, and the
// row of the queue is removed afterwards.
package sqlqueue
