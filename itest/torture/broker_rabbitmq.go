package main

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// rabbitBroker is RabbitMQ with quorum queues in a node of its own, which is a victim too, as are its connections.
type rabbitBroker struct{}

func (rabbitBroker) routes() []outbox.Route { return natsBroker{}.routes() }

func (rabbitBroker) start(ctx context.Context) (brokerServer, error) {
	return servers.StartRabbitMQ(ctx, nil)
}

func (rabbitBroker) transport(_ context.Context, p *process) (bus.Transport, error) {
	b := rabbitBroker{} // the queues have to be there before anything is sent
	groups := []bus.Subscription{b.subscription("billing"), b.subscription("shipping"), b.subscription("notes")}
	return rabbitmq.New(p.BrokerURL, &rabbitmq.Options{Groups: groups, AckTimeout: 10 * time.Second, Logger: p.log})
}

func (rabbitBroker) subscription(consumer string) bus.Subscription {
	return natsBroker{}.subscription(consumer)
}
