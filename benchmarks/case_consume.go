package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// consume compares a consumer whose handler does nothing with the broker's own client that acknowledges in batches. All
// messages are there before. The one that is judged is the ordered one, which acknowledges in batches too: a group without order
// has to acknowledge each message, since its members share what they receive.
func consume(ctx context.Context, s *scope, b *broker) error {
	n := pick(s.bench, 200_000, 1000)
	loaded := func(take func(ctx context.Context) error) arm {
		return func(ctx context.Context) (float64, error) {
			envs, err := envelopes(ctx, n, keysOf(1000))
			if err != nil {
				return 0, err
			}
			if err := b.fresh(ctx); err != nil {
				return 0, err
			}
			if err := b.publish(ctx, envs); err != nil {
				return 0, err
			}
			runtime.GC()
			start := time.Now()
			err = take(ctx)
			return rate(n, start), err
		}
	}
	raw := loaded(func(ctx context.Context) error { return b.receive(ctx, n, func() {}) })
	own := func(ordered bool) arm {
		return loaded(func(ctx context.Context) (err error) {
			t, err := b.open(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(ctx))) }()
			c := newCounter(n)
			return runConsumer(ctx, t, bus.Subscription{Topics: []string{topic}, Group: group, Ordered: ordered, MaxInFlight: 2 * batchSize},
				bus.Options{}, c, sixfold.Raw(func(context.Context, *sixfold.Envelope) error { c.count(1); return nil }))
		})
	}
	results, err := s.interleaved(ctx, raw, own(false), own(true))
	if err != nil {
		return err
	}
	peer := b.name + "'s own client"
	if err := s.against(line{Case: s.name, Unit: "msg/s", PeerName: peer, Note: "each message acknowledged by itself"}, goal{}, results[0], results[1]); err != nil {
		return err
	}
	ordered := line{Case: s.name + "/ordered", Unit: "msg/s", PeerName: peer, Note: "in the order of 1,000 keys"}
	return s.against(ordered, b.goalOn(goal{ratioAtLeast, 0.80, 0.90}), results[0], results[2])
}
