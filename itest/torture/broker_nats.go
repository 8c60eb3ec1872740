package main

import (
	"context"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// natsBroker is NATS JetStream in a process of its own, which is a victim too. It drops what a relay sends again within
// its window, so an inbox sees fewer repeats than with other brokers.
type natsBroker struct{}

func (natsBroker) routes() []outbox.Route {
	return append(localRoutes(), outbox.To("orders", Order{}).MustReach(), outbox.To("notes", Note{}).MustReach())
}

func (natsBroker) start(ctx context.Context) (brokerServer, error) {
	return servers.StartNATSProcess(ctx, nil)
}

func (natsBroker) transport(_ context.Context, p *process) (bus.Transport, error) {
	return nats.New(p.BrokerURL, &nats.Options{Topics: []string{"orders", "notes"}, Lease: p.Options.Lease, Logger: p.log})
}

func (natsBroker) subscription(consumer string) bus.Subscription {
	if consumer == "notes" {
		return bus.Subscription{Topics: []string{"notes"}, Group: consumer, Ordered: true}
	}
	return bus.Subscription{Topics: []string{"orders"}, Group: consumer, Ordered: true}
}
