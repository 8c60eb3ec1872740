package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// errNotBuilt says that a case needs something which does not exist yet; the case is skipped.
var errNotBuilt = errors.New("not built yet")

// A broker is one kind of broker, as Sixfold's driver and as its own client see it.
type broker struct {
	name string
	// fresh makes the topic new and empty.
	fresh func(ctx context.Context) error
	// open answers the driver on the fresh topic. Whoever opens it closes it.
	open func(ctx context.Context) (bus.Transport, error)
	// publish sends messages with the broker's own client, as fast as that goes, and returns when all are confirmed.
	publish func(ctx context.Context, envs []*sixfold.Envelope) error
	// receive takes n messages with the broker's own client, acknowledging in batches, and calls handled for each.
	receive func(ctx context.Context, n int, handled func()) error
	// judged says whether targets are meant for this broker.
	judged bool
}

// onMemory runs a case over the broker in the process. It has no target of its own where one names JetStream.
func onMemory(run func(ctx context.Context, s *scope, b *broker) error) func(ctx context.Context, s *scope) error {
	return func(ctx context.Context, s *scope) error {
		return run(ctx, s, newMemoryBroker())
	}
}

// goalOn is g where it is meant for this broker.
func (b *broker) goalOn(g goal) goal {
	if !b.judged {
		return goal{}
	}
	return g
}

// batchSize is how many messages the hand-written side of a comparison sends or receives at once.
const batchSize = 1000

// newMemoryBroker is package transport/memory; its own client is the bare sender and source.
func newMemoryBroker() *broker {
	var t *memory.Transport
	b := &broker{name: "memory"}
	b.fresh = func(ctx context.Context) error {
		if t != nil {
			if err := t.Close(ctx); err != nil {
				return err
			}
		}
		t = memory.New(&memory.Options{Topics: []string{topic}, MaxPending: 4_000_000})
		return nil
	}
	b.open = func(context.Context) (bus.Transport, error) { return t, nil }
	b.publish = func(ctx context.Context, envs []*sixfold.Envelope) error { return sendAll(ctx, t, envs) }
	b.receive = func(ctx context.Context, n int, handled func()) error {
		return takeAll(ctx, t, bus.Subscription{Topics: []string{topic}, Group: "raw", Ordered: true, MaxInFlight: 2 * batchSize}, n, handled)
	}
	return b
}

// sendAll sends in batches over one sender.
func sendAll(ctx context.Context, t bus.Transport, envs []*sixfold.Envelope) error {
	sender, err := t.Open(ctx)
	if err != nil {
		return err
	}
	outs := make([]bus.Outgoing, 0, batchSize)
	for len(envs) > 0 {
		n := min(batchSize, len(envs))
		outs = outs[:0]
		for _, env := range envs[:n] {
			outs = append(outs, bus.Outgoing{Topic: topic, Envelope: env})
		}
		if err := errors.Join(sender.Send(ctx, outs).Wait(ctx)...); err != nil {
			return err
		}
		envs = envs[n:]
	}
	return sender.Close(ctx)
}

// envelopes makes n messages as a relay sends them.
func envelopes(ctx context.Context, n int, key func(i int) string) ([]*sixfold.Envelope, error) {
	envs := make([]*sixfold.Envelope, n)
	for i := range envs {
		env, err := sixfold.NewEnvelope(ctx, "sixfold", nil, makeOrder(i, key(i)))
		if err != nil {
			return nil, err
		}
		env.Sequence = fmt.Sprintf("%d/%d", i%64, i+1)
		envs[i] = env
	}
	return envs, nil
}
