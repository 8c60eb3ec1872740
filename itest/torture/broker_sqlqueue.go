package main

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// sqlBroker is the same database as the broker: what hits the database hits the broker too.
type sqlBroker struct{}

func (sqlBroker) routes() []outbox.Route { return natsBroker{}.routes() }

func (sqlBroker) start(context.Context) (brokerServer, error) { return nil, nil }

func (sqlBroker) transport(ctx context.Context, p *process) (bus.Transport, error) {
	b := sqlBroker{} // the groups have to be there before anything is sent
	for _, sub := range []bus.Subscription{b.subscription("billing"), b.subscription("shipping"), b.subscription("notes")} {
		for {
			_, _, err := p.store.Broker().Attach(ctx, sub.Topics[0], sub.Group, "", false)
			if err == nil || !wait(ctx, 20*time.Millisecond) { // the database may be down just now; and who is to stop asks nothing more of it
				break
			}
		}
	}
	return sqlqueue.New(p.store.Broker(), &sqlqueue.Options{Lease: p.Options.Lease, Poll: poll, Logger: p.log})
}

func (sqlBroker) subscription(consumer string) bus.Subscription {
	return natsBroker{}.subscription(consumer)
}
