package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// kafkaPartitions is how many the topic has.
const kafkaPartitions = 4

// relayKafka drains rows that were committed before the relay starts, as relayDrain does. The broker is the case's own.
func relayKafka(ctx context.Context, s *scope) error {
	b, _, err := s.newKafkaBroker(ctx)
	if err != nil {
		return err
	}
	return s.relayBesideClient(ctx, b, goal{}, func(ctx context.Context, t *tables, n int) error {
		return t.fill(ctx, t.box, n, noKeys)
	})
}

// consumeKafka is consume on Kafka. Each side is timed from its first message to its last, since joining a group is no part of
// a rate.
func consumeKafka(ctx context.Context, s *scope) error {
	b, c, err := s.newKafkaBroker(ctx)
	if err != nil {
		return err
	}
	n := pick(s.bench, 200_000, 1000)
	loaded := func(take func(ctx context.Context, w *watch) error) arm {
		return func(ctx context.Context) (float64, error) {
			envs, err := envelopes(ctx, n, keysOf(1000))
			if err == nil {
				err = b.fresh(ctx)
			}
			if err == nil {
				err = b.publish(ctx, envs)
			}
			if err != nil {
				return 0, err
			}
			runtime.GC()
			w := &watch{counter: newCounter(n)}
			if err := take(ctx, w); err != nil {
				return 0, err
			}
			return float64(n) / w.end.Sub(w.start).Seconds(), nil
		}
	}
	own := func(ctx context.Context, w *watch) (err error) {
		t, err := b.open(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(ctx))) }()
		return runConsumer(ctx, t, bus.Subscription{Topics: []string{topic}, Group: c.group(), Ordered: true, MaxInFlight: 2 * batchSize},
			bus.Options{}, w.counter, sixfold.Raw(func(context.Context, *sixfold.Envelope) error { w.handled(); return nil }))
	}
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: b.name + "'s own client", Note: "in the order of 1,000 keys"}, goal{},
		loaded(func(ctx context.Context, w *watch) error { return c.receive(ctx, n, w) }), loaded(own))
}

// newKafkaBroker starts Apache Kafka, or fake brokers in a process of their own where its jars are not to be had, and connects
// the raw client.
func (s *scope) newKafkaBroker(ctx context.Context) (*broker, *rawKafka, error) {
	var address string
	name := "kafka"
	if node, err := servers.StartKafka(ctx); err == nil {
		s.atEnd(node.Close)
		address = node.URL()
	} else {
		fake, err := servers.StartKafkaFake(ctx)
		if err != nil {
			return nil, nil, err
		}
		s.atEnd(fake.Close)
		address, name = fake.URL(), "kafka (fake brokers)"
	}
	c := &rawKafka{seeds: strings.Split(strings.TrimPrefix(address, "kafka://"), ","), binding: cloudevents.Kafka()}
	b := &broker{name: name, judged: true, fresh: c.fresh, publish: c.publish,
		open: func(context.Context) (bus.Transport, error) {
			return kafka.New(address, &kafka.Options{Partitions: kafkaPartitions})
		}}
	return b, c, nil
}

// rawKafka is the raw client at its best.
type rawKafka struct {
	seeds   []string
	binding *cloudevents.Binding
	groups  atomic.Int64
}

// group is a name that nobody had.
func (c *rawKafka) group() string { return fmt.Sprintf("bench-%d", c.groups.Add(1)) }

func (c *rawKafka) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(c.seeds...))...)
}

// fresh makes what the driver would make.
func (c *rawKafka) fresh(ctx context.Context) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if _, err := admin.DeleteTopics(ctx, topic); err != nil {
		return fmt.Errorf("delete the topic: %w", err)
	}
	for {
		resp, err := admin.CreateTopic(ctx, kafkaPartitions, 1, nil, topic)
		if err == nil {
			err = resp.Err
		}
		if !errors.Is(err, kerr.TopicAlreadyExists) { // it goes away in the background
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// publish sends the same messages as the driver, with as many unconfirmed as that has.
func (c *rawKafka) publish(ctx context.Context, envs []*sixfold.Envelope) error {
	cl, err := c.client(kgo.MaxBufferedRecords(2*asyncMax), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		return err
	}
	defer cl.Close()
	var failed atomic.Pointer[error]
	promise := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.Store(&err)
		}
	}
	var headers []cloudevents.Header
	for _, env := range envs {
		if headers, err = c.binding.AppendHeaders(headers[:0], env); err != nil {
			return err
		}
		r := &kgo.Record{Topic: topic, Value: env.Body, Headers: make([]kgo.RecordHeader, len(headers))}
		if env.Key != "" {
			r.Key = []byte(env.Key)
		}
		for i, h := range headers {
			r.Headers[i] = kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)}
		}
		cl.Produce(ctx, r, promise)
	}
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// receive takes n messages, and commits after each batch. It reads the headers of each as strings by name, which the clients of NATS
// and RabbitMQ do by themselves.
func (c *rawKafka) receive(ctx context.Context, n int, w *watch) error {
	cl, err := c.client(kgo.ConsumerGroup(c.group()), kgo.ConsumeTopics(topic), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	for got := 0; got < n; {
		fetches := cl.PollRecords(ctx, batchSize)
		if err := fetches.Err0(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			headers := make(map[string]string, len(r.Headers))
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			if headers["ce_id"] != "" {
				got++
				w.handled()
			}
		})
		if err := cl.CommitUncommittedOffsets(ctx); err != nil {
			return fmt.Errorf("commit: %w", err)
		}
	}
	return nil
}
