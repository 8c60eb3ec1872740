package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// consumeRabbitMQ is consume on quorum queues. Each side is timed from its first message to its last: connecting, and the
// fifty milliseconds that the end of a source takes, are no part of a rate. Only the queue that is read gets messages.
func consumeRabbitMQ(ctx context.Context, s *scope) error {
	b, c, err := s.newRabbitBroker(ctx)
	if err != nil {
		return err
	}
	n := pick(s.bench, 60_000, 1000)
	loaded := func(queue string, take func(ctx context.Context, w *watch) error) arm {
		return func(ctx context.Context) (float64, error) {
			c.queue = queue
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
	raw := func(ctx context.Context, w *watch) error { return c.receive(ctx, n, w) }
	own := func(ordered bool) func(ctx context.Context, w *watch) error {
		return func(ctx context.Context, w *watch) (err error) {
			t, err := b.open(ctx)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, t.Close(context.WithoutCancel(ctx))) }()
			return runConsumer(ctx, t, bus.Subscription{Topics: []string{topic}, Group: group, Ordered: ordered, MaxInFlight: 2 * batchSize},
				bus.Options{}, w.counter, sixfold.Raw(func(context.Context, *sixfold.Envelope) error { w.handled(); return nil }))
		}
	}
	results, err := s.interleaved(ctx, loaded(rabbitQueue, raw), loaded(rabbitQueue, own(false)), loaded(orderedQueue, own(true)))
	if err != nil {
		return err
	}
	peer := b.name + "'s own client"
	if err := s.against(line{Case: s.name, Unit: "msg/s", PeerName: peer}, goal{ratioAtLeast, 0.80, 0.90}, results[0], results[1]); err != nil {
		return err
	}
	return s.against(line{Case: s.name + "/ordered", Unit: "msg/s", PeerName: peer, Note: "in the order of 1,000 keys"}, goal{}, results[0], results[2])
}

// A watch times n messages from the first to the last.
type watch struct {
	*counter
	first      sync.Once
	start, end time.Time
}

// handled notes one. Many goroutines may call it.
func (w *watch) handled() {
	w.first.Do(func() { w.start = time.Now() })
	if w.left.Add(-1) == 0 {
		w.end = time.Now()
		close(w.done)
	}
}
