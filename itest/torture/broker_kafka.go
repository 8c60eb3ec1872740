package main

import (
	"context"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// kafkaBroker is Kafka in a process of its own, which is a victim too: fake brokers that keep what they have on the disk, or
// Apache Kafka itself, which needs its jars.
type kafkaBroker struct{ real bool }

func (kafkaBroker) routes() []outbox.Route { return natsBroker{}.routes() }

func (b kafkaBroker) start(ctx context.Context) (brokerServer, error) {
	if b.real {
		return servers.StartKafka(ctx)
	}
	return servers.StartKafkaFake(ctx)
}

func (kafkaBroker) transport(_ context.Context, p *process) (bus.Transport, error) {
	return kafka.New(p.BrokerURL, &kafka.Options{Topics: []string{"orders", "notes"}, Partitions: 8, SessionTimeout: p.Options.Lease, DrainTimeout: p.Options.Lease, Logger: p.log})
}

func (kafkaBroker) subscription(consumer string) bus.Subscription {
	return natsBroker{}.subscription(consumer)
}
