package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// openNATS opens Sixfold's driver for JetStream. This is the only place that knows it.
func openNATS(url string) (bus.Transport, error) { return nats.New(url, nil) }

const (
	streamName = "BENCH"
	// asyncMax is how many publishes of the raw client are in flight: as many as a relay's.
	asyncMax = 8000
)

// onNATS runs a case over JetStream, or skips it while there is no driver.
func onNATS(run func(ctx context.Context, s *scope, b *broker) error) func(ctx context.Context, s *scope) error {
	return func(ctx context.Context, s *scope) error {
		b, err := s.newNATSBroker(ctx)
		if err != nil {
			return err
		}
		t, err := b.open(ctx)
		if errors.Is(err, errNotBuilt) {
			return s.report.skip(s.name, err.Error())
		}
		if err == nil {
			err = t.Close(ctx)
		}
		if err != nil {
			return err
		}
		return run(ctx, s, b)
	}
}

// newNATSBroker connects the raw client. The stream is of the kind that JetStream makes by default: files, one replica.
func (s *scope) newNATSBroker(ctx context.Context) (*broker, error) {
	server, err := s.jetStream(ctx)
	if err != nil {
		return nil, err
	}
	url := server.URL()
	nc, err := natsgo.Connect(url)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	s.atEnd(func() error { nc.Close(); return nil })
	c := &rawNATS{binding: cloudevents.NATS()}
	c.js, err = jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(asyncMax),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *natsgo.Msg, err error) { c.failed(err) }))
	if err != nil {
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &broker{name: "nats", judged: true, fresh: c.fresh, publish: c.publish, receive: c.receive,
		open: func(context.Context) (bus.Transport, error) { return openNATS(url) }}, nil
}

// rawNATS is the raw client at its best.
type rawNATS struct {
	js      jetstream.JetStream
	binding *cloudevents.Binding

	mu  sync.Mutex
	err error // of the first publish that failed
}

func (c *rawNATS) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = errors.Join(c.err, err)
}

func (c *rawNATS) fresh(ctx context.Context) error {
	if err := c.js.DeleteStream(ctx, streamName); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("delete the stream: %w", err)
	}
	_, err := c.js.CreateStream(ctx, jetstream.StreamConfig{Name: streamName, Subjects: []string{topic}, Storage: jetstream.FileStorage})
	if err != nil {
		return fmt.Errorf("create the stream: %w", err)
	}
	return nil
}

// publish sends the same messages as the driver: the headers of CloudEvents' binary mode, the id for the stream's window
// of duplicates, and the body.
func (c *rawNATS) publish(ctx context.Context, envs []*sixfold.Envelope) error {
	var headers []cloudevents.Header
	for _, env := range envs {
		var err error
		if headers, err = c.binding.AppendHeaders(headers[:0], env); err != nil {
			return err
		}
		msg := &natsgo.Msg{Subject: topic, Header: make(natsgo.Header, len(headers)+1), Data: env.Body}
		for _, h := range headers {
			msg.Header[h.Name] = []string{h.Value}
		}
		msg.Header[jetstream.MsgIDHeader] = []string{env.ID}
		if _, err := c.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0), jetstream.WithStallWait(10*time.Second)); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	select {
	case <-c.js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// receive takes n messages with a durable consumer that acknowledges all up to the last of each batch.
func (c *rawNATS) receive(ctx context.Context, n int, handled func()) error {
	cons, err := c.js.CreateOrUpdateConsumer(ctx, streamName, jetstream.ConsumerConfig{
		Durable: "raw", AckPolicy: jetstream.AckAllPolicy, MaxAckPending: 10 * batchSize})
	if err != nil {
		return fmt.Errorf("create the consumer: %w", err)
	}
	const ackEvery = 100
	it, err := cons.Messages(jetstream.PullMaxMessages(2 * batchSize))
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	defer it.Stop()
	for i := 1; i <= n; i++ {
		msg, err := it.Next()
		if err != nil {
			return fmt.Errorf("consume: %w", err)
		}
		handled()
		if i%ackEvery != 0 && i != n {
			continue
		}
		if i == n {
			err = msg.DoubleAck(ctx)
		} else {
			err = msg.Ack()
		}
		if err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
	return nil
}
