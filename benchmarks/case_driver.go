package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// A driverCase is a driver by itself, without a database and without a consumer, beside the client that it is made of.
type driverCase struct {
	b *broker
	n int
	// subscription is a new one at each call.
	subscription func() bus.Subscription
	// raw takes n messages with the broker's own client, acknowledging in batches.
	raw func(ctx context.Context, n int, w *watch) error
}

func driverNATS(ctx context.Context, s *scope) error {
	b, err := s.newNATSBroker(ctx)
	if err != nil {
		return err
	}
	return s.driver(ctx, driverCase{b, pick(s.bench, 100_000, 1000), inGroup(group),
		func(ctx context.Context, n int, w *watch) error { return b.receive(ctx, n, w.handled) }})
}

func driverRabbitMQ(ctx context.Context, s *scope) error {
	b, c, err := s.newRabbitBroker(ctx)
	if err != nil {
		return err
	}
	return s.driver(ctx, driverCase{b, pick(s.bench, 60_000, 1000), func() bus.Subscription {
		return bus.Subscription{Topics: []string{topic}, Group: group, MaxInFlight: 2 * batchSize}
	}, c.receive})
}

func driverKafka(ctx context.Context, s *scope) error {
	b, c, err := s.newKafkaBroker(ctx)
	if err != nil {
		return err
	}
	return s.driver(ctx, driverCase{b, pick(s.bench, 400_000, 1000), func() bus.Subscription { return inGroup(c.group())() }, c.receive})
}

func driverSQS(ctx context.Context, s *scope) error {
	b, c, err := s.newSQSBroker(ctx)
	if err != nil {
		return err
	}
	return s.driver(ctx, driverCase{b, pick(s.bench, 30_000, 500), inGroup(group), c.receive})
}

// inGroup subscribes in the order of keys.
func inGroup(name string) func() bus.Subscription {
	return func() bus.Subscription {
		return bus.Subscription{Topics: []string{topic}, Group: name, Ordered: true, MaxInFlight: 2 * batchSize}
	}
}

// driver compares sending until all is confirmed, and receiving with batches of settlements, each from the first message to the last.
func (s *scope) driver(ctx context.Context, d driverCase) error {
	peer := d.b.name + "'s own client"
	err := s.compare(ctx, line{Case: s.name + "/send", Unit: "msg/s", PeerName: peer}, goal{ratioAtLeast, 0.85, 0.95},
		d.sending(d.b.publish), d.sending(func(ctx context.Context, envs []*sixfold.Envelope) error {
			return d.with(ctx, func(t bus.Transport) error { return pipeAll(ctx, t, envs) })
		}))
	if err != nil {
		return err
	}
	return s.compare(ctx, line{Case: s.name + "/receive", Unit: "msg/s", PeerName: peer}, goal{ratioAtLeast, 0.80, 0.90},
		d.receiving(d.raw), d.receiving(func(ctx context.Context, n int, w *watch) error {
			return d.with(ctx, func(t bus.Transport) error { return takeAll(ctx, t, d.subscription(), n, w.handled) })
		}))
}

// with opens the driver for the length of f.
func (d *driverCase) with(ctx context.Context, f func(t bus.Transport) error) error {
	t, err := d.b.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(t), t.Close(context.WithoutCancel(ctx)))
}

func (d *driverCase) sending(send func(ctx context.Context, envs []*sixfold.Envelope) error) arm {
	return func(ctx context.Context) (float64, error) {
		envs, err := d.prepared(ctx)
		if err != nil {
			return 0, err
		}
		start := time.Now()
		err = send(ctx, envs)
		return rate(d.n, start), err
	}
}

func (d *driverCase) receiving(take func(ctx context.Context, n int, w *watch) error) arm {
	return func(ctx context.Context) (float64, error) {
		envs, err := d.prepared(ctx)
		if err == nil {
			err = d.b.publish(ctx, envs)
		}
		if err != nil {
			return 0, err
		}
		envs = nil
		runtime.GC()
		w := &watch{counter: newCounter(d.n)}
		if err := take(ctx, d.n, w); err != nil {
			return 0, err
		}
		return float64(d.n) / w.end.Sub(w.start).Seconds(), nil
	}
}

// prepared makes the messages, and the topic new.
func (d *driverCase) prepared(ctx context.Context) ([]*sixfold.Envelope, error) {
	envs, err := envelopes(ctx, d.n, keysOf(1000))
	if err == nil {
		err = d.b.fresh(ctx)
	}
	runtime.GC()
	return envs, err
}

// pipeAll sends over one sender, in batches that follow each other without waiting, and has as many unconfirmed as the raw clients.
func pipeAll(ctx context.Context, t bus.Transport, envs []*sixfold.Envelope) error {
	sender, err := t.Open(ctx)
	if err != nil {
		return err
	}
	var open []bus.Pending
	settle := func(most int) error {
		for len(open) > most {
			if err := errors.Join(open[0].Wait(ctx)...); err != nil {
				return err
			}
			open = open[1:]
		}
		return nil
	}
	for len(envs) > 0 && err == nil {
		n := min(batchSize, len(envs))
		outs := make([]bus.Outgoing, n)
		for i, env := range envs[:n] {
			outs[i] = bus.Outgoing{Topic: topic, Envelope: env}
		}
		open, envs = append(open, sender.Send(ctx, outs)), envs[n:]
		err = settle(asyncMax/batchSize - 1)
	}
	if err == nil {
		err = settle(0)
	}
	return errors.Join(err, sender.Close(context.WithoutCancel(ctx)))
}

// takeAll takes n messages over one source and settles what it was given at once.
func takeAll(ctx context.Context, t bus.Transport, sub bus.Subscription, n int, handled func()) error {
	src, err := t.Subscribe(ctx, sub)
	if err != nil {
		return err
	}
	settlements := make([]bus.Settlement, 0, batchSize)
	for n > 0 && err == nil {
		var ds []*bus.Delivery
		if ds, err = src.Receive(ctx, batchSize); err != nil {
			break
		}
		settlements = settlements[:0]
		for _, d := range ds {
			settlements = append(settlements, bus.Settlement{Delivery: d})
			if d.Damaged != nil {
				err = d.Damaged
			}
		}
		err = errors.Join(append(src.Settle(ctx, settlements), err)...)
		for range ds {
			handled()
		}
		n -= len(ds)
	}
	return errors.Join(err, src.Close(context.WithoutCancel(ctx)))
}
