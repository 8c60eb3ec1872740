package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// group is the consumer of every case, and its inbox.
const group = "bench"

// counter closes done when it has counted n messages.
type counter struct {
	left atomic.Int64
	done chan struct{}
}

func newCounter(n int) *counter {
	c := &counter{done: make(chan struct{})}
	c.left.Store(int64(n))
	return c
}

func (c *counter) count(n int) {
	if after := c.left.Add(-int64(n)); after <= 0 && after > -int64(n) {
		close(c.done)
	}
}

// runConsumer runs a consumer until c has counted everything, and stops it in order: when it returns, every handler's
// transaction is committed and every message is settled.
func runConsumer(ctx context.Context, t bus.Subscriber, sub bus.Subscription, opts bus.Options, c *counter, routes ...sixfold.Route) error {
	opts.Logger = silent()
	dead := make(chan error, 1)
	opts.Hooks.Dead = func(_ *bus.Delivery, reason string, err error) {
		select {
		case dead <- fmt.Errorf("a message became a dead letter (%s): %w", reason, err):
		default: // one of them is enough
		}
	}
	consumer, err := bus.NewConsumer(t, sub, &opts, routes...)
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- consumer.Run(running) }()
	select {
	case <-c.done:
		stop()
		return <-ended
	case err := <-dead:
		stop()
		return errors.Join(err, <-ended)
	case err := <-ended:
		return errors.Join(errors.New("the consumer ended too early"), err, ctx.Err())
	}
}

// byHand is a consumer as people write it: one goroutine receives, workers handle, and what is handled is settled.
func byHand(ctx context.Context, t bus.Subscriber, workers, batch, n int, handle func(ctx context.Context, ds []*bus.Delivery) error) error {
	src, err := t.Subscribe(ctx, bus.Subscription{Topics: []string{topic}, Group: group, MaxInFlight: 2 * workers * batch})
	if err != nil {
		return err
	}
	batches := make(chan []*bus.Delivery, workers)
	errs := make([]error, workers)
	var settling sync.Mutex
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for ds := range batches {
				if errs[w] != nil {
					continue
				}
				if errs[w] = handle(ctx, ds); errs[w] != nil {
					continue
				}
				ss := make([]bus.Settlement, len(ds))
				for i, d := range ds {
					ss[i] = bus.Settlement{Delivery: d}
				}
				settling.Lock()
				errs[w] = errors.Join(src.Settle(ctx, ss)...)
				settling.Unlock()
			}
		})
	}
	for n > 0 && err == nil {
		var ds []*bus.Delivery
		ds, err = src.Receive(ctx, batch)
		if err == nil {
			n -= len(ds)
			batches <- ds
		}
	}
	close(batches)
	wg.Wait()
	return errors.Join(append(errs, err, src.Close(ctx))...)
}
