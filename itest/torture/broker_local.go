package main

import (
	"context"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// localBroker has the relay bring messages into the local table of the same database, as it would into another one's.
// Such rows come perhaps more than once, so their consumers use the real inbox.
type localBroker struct{}

func (localBroker) routes() []outbox.Route {
	return append(localRoutes(), outbox.To("billing", Order{}).MustReach(), outbox.To("shipping", Order{}).MustReach(), outbox.To("notes", Note{}).MustReach())
}

func (localBroker) start(context.Context) (brokerServer, error) { return nil, nil }

func (localBroker) transport(_ context.Context, p *process) (bus.Transport, error) { return p.local() }

func (localBroker) subscription(consumer string) bus.Subscription {
	return bus.Subscription{Group: consumer, Ordered: true}
}
