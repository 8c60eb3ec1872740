package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// sqlQueue compares the database as the broker with River: handlers that do nothing and the order of 1,000 keys there, jobs
// that do nothing and no order here. All messages are there before, sent through the transport. A second line measures
// sending and consuming at the same time, from the first send to the last settle, and a third the sends alone; River's
// inserts are not in its own number.
func sqlQueue(ctx context.Context, s *scope) error {
	t, err := s.onFast(ctx, 16)
	if err != nil {
		return err
	}
	if err := riverTables(ctx, t.pool); err != nil {
		return err
	}
	jobs := pick(s.bench, 40_000, 500)
	workers, err := s.tuneRiver(ctx, t, jobs)
	if err != nil {
		return err
	}
	n := pick(s.bench, 200_000, 1000)
	results, err := s.interleaved(ctx, t.riverRate(workers, jobs), t.sqlQueueRate(n, true), t.sqlQueueRate(n, false), t.sqlQueueSends(n))
	if err != nil {
		return err
	}
	note := fmt.Sprintf("River keeps no order; its fastest here is with %d workers", workers)
	if err := s.against(line{Case: s.name, Unit: "msg/s", PeerName: "River", Note: note}, goal{ratioAtLeast, 5, 7}, results[0], results[1]); err != nil {
		return err
	}
	if err := s.against(line{Case: s.name + "/send-and-consume", Unit: "msg/s", PeerName: "River", Note: "sent meanwhile; River's jobs are there before"}, goal{}, results[0], results[2]); err != nil {
		return err
	}
	return s.alone(line{Case: s.name + "/send", Unit: "msg/s", Note: "for one group, in batches of 1,000"}, goal{}, results[3])
}

// queueOf is a transport on empty tables whose only group is there.
func (t *tables) queueOf(ctx context.Context) (*sqlqueue.Transport, error) {
	if err := t.clear(ctx, "sixfold.queue", "sixfold.queue_group"); err != nil {
		return nil, err
	}
	broker, err := sqlqueue.New(t.st.Broker(), &sqlqueue.Options{Logger: silent()})
	if err != nil {
		return nil, err
	}
	src, err := broker.Subscribe(ctx, bus.Subscription{Topics: []string{topic}, Group: group})
	if err != nil {
		return nil, err
	}
	return broker, src.Close(ctx)
}

// sendBatches sends envelopes in batches that follow each other without waiting.
func sendBatches(ctx context.Context, broker bus.Transport, envs []*sixfold.Envelope) (err error) {
	sender, err := broker.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sender.Close(ctx)) }()
	var pending []bus.Pending
	batch := make([]bus.Outgoing, 0, fillStep)
	for from := 0; from < len(envs); from += fillStep {
		batch = batch[:0]
		for _, env := range envs[from:min(len(envs), from+fillStep)] {
			batch = append(batch, bus.Outgoing{Topic: topic, Envelope: env})
		}
		pending = append(pending, sender.Send(ctx, batch))
	}
	for _, p := range pending {
		if err := errors.Join(p.Wait(ctx)...); err != nil {
			return err
		}
	}
	return nil
}

// sqlQueueRate is an arm: n messages by a consumer, sent before or meanwhile.
func (t *tables) sqlQueueRate(n int, before bool) arm {
	return func(ctx context.Context) (float64, error) {
		envs, err := envelopes(ctx, n, keysOf(1000))
		if err != nil {
			return 0, err
		}
		broker, err := t.queueOf(ctx)
		if err != nil {
			return 0, err
		}
		if before {
			if err := sendBatches(ctx, broker, envs); err != nil {
				return 0, err
			}
			envs = nil
		}
		c := newCounter(n)
		runtime.GC()
		start := time.Now()
		sent := make(chan error, 1)
		go func() { sent <- sendBatches(ctx, broker, envs) }()
		err = runConsumer(ctx, broker, bus.Subscription{Topics: []string{topic}, Group: group, Ordered: true, MaxInFlight: 10_000}, bus.Options{}, c,
			sixfold.On(func(context.Context, order) error { c.count(1); return nil }))
		v := rate(n, start)
		if err := errors.Join(err, <-sent, broker.Close(ctx)); err != nil {
			return 0, err
		}
		return v, t.expect(ctx, "SELECT count(*) FROM sixfold.queue", 0)
	}
}

// sqlQueueSends is an arm: n messages to a group that is away.
func (t *tables) sqlQueueSends(n int) arm {
	return func(ctx context.Context) (float64, error) {
		envs, err := envelopes(ctx, n, keysOf(1000))
		if err != nil {
			return 0, err
		}
		broker, err := t.queueOf(ctx)
		if err != nil {
			return 0, err
		}
		runtime.GC()
		start := time.Now()
		err = sendBatches(ctx, broker, envs)
		v := rate(n, start)
		if err := errors.Join(err, broker.Close(ctx)); err != nil {
			return 0, err
		}
		return v, t.expect(ctx, "SELECT count(*) FROM sixfold.queue", n)
	}
}
