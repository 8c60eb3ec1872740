package main

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/transport/sqs"
)

// sqsBroker is an emulator of SQS and SNS, which keeps everything in memory. So it is never killed: what is hit is the way to it,
// see link. Messages that a relay sends again are dropped for five minutes, so an inbox sees fewer repeats.
type sqsBroker struct{}

func (sqsBroker) routes() []outbox.Route { return natsBroker{}.routes() }

func (sqsBroker) start(ctx context.Context) (brokerServer, error) {
	a, err := servers.StartAWS(ctx, servers.Fauxqs)
	if err != nil {
		return nil, err
	}
	l, err := newLink(a.URL())
	if err != nil {
		_ = a.Close()
		return nil, err
	}
	return &emulator{l, a}, nil
}

func (sqsBroker) transport(ctx context.Context, p *process) (bus.Transport, error) {
	b := sqsBroker{} // the queues have to be there before anything is sent
	groups := []bus.Subscription{b.subscription("billing"), b.subscription("shipping"), b.subscription("notes")}
	return sqs.New(ctx, &sqs.Options{Region: "eu-central-1", Endpoint: p.BrokerURL, Credentials: credentials.NewStaticCredentialsProvider("torture", "torture", ""), Groups: groups,
		Visibility: (2 * p.Options.Lease).Truncate(time.Second), LongPoll: time.Second, AckTimeout: 10 * time.Second, Logger: p.log})
}

func (sqsBroker) subscription(consumer string) bus.Subscription {
	return natsBroker{}.subscription(consumer)
}

// emulator is a victim whose processes live and whose connections do not.
type emulator struct {
	*link
	server *servers.AWSServer
}

// Kill cuts everything at once, in the middle of requests.
func (e *emulator) Kill() error { e.cut(); return nil }

// Stop loses answers first: what the emulator takes meanwhile is in doubt.
func (e *emulator) Stop() error {
	e.deafen()
	time.Sleep(300 * time.Millisecond) // is how long this fault lasts; nothing waits for it
	e.cut()
	return nil
}

// Start lets requests through again.
func (e *emulator) Start(context.Context) error { e.restore(); return nil }

// CloseConnections ends those that there are.
func (e *emulator) CloseConnections(context.Context) error { e.cut(); e.restore(); return nil }

func (e *emulator) Close() error {
	e.link.close()
	return e.server.Close()
}
