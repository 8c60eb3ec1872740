package main

import (
	"context"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// broker is what a kind of broker means to the run. Each kind is one file, broker_<kind>.go.
type broker interface {
	// routes send each kind of message where its consumers find it.
	routes() []outbox.Route
	// start starts the server; nil where there is none to start.
	start(ctx context.Context) (brokerServer, error)
	// transport connects a relay or a consumer; p.BrokerURL is where the server is.
	transport(ctx context.Context, p *process) (bus.Transport, error)
	// subscription is where a consumer of that name finds its messages. What audit and marks get is in the database.
	subscription(consumer string) bus.Subscription
}

// brokerServer is a broker's process, which can be a victim.
type brokerServer interface {
	URL() string
	Stop() error
	Kill() error
	Start(ctx context.Context) error
	Close() error
}

// brokers are the kinds that there are; nobody writes to it.
var brokers = map[string]broker{"local": localBroker{}, "kafka": kafkaBroker{}, "kafka-real": kafkaBroker{real: true}, "nats": natsBroker{}, "rabbitmq": rabbitBroker{}, "sqlqueue": sqlBroker{}, "sqs": sqsBroker{}}

// localRoutes are the same with every broker: what needs none.
func localRoutes() []outbox.Route {
	return []outbox.Route{outbox.ToConsumer("audit", Order{}), outbox.ToConsumer("marks", Mark{})}
}

// local makes the database of p the transport of what needs no broker.
func (p *process) local() (*outbox.Local, error) {
	return outbox.NewLocal(p.tapped(), p.db.runner(), &outbox.LocalOptions{Lease: p.Options.Lease, Poll: poll, Logger: p.log})
}
