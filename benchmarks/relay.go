package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// relays are some relays at work in this process, and a count of what they settle.
type relays struct {
	settled atomic.Int64
	news    chan struct{}
	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error
	ended   atomic.Bool

	sentAt  time.Time      // of the first send; under mu
	holding []atomic.Int64 // partitions, of each relay
}

// startRelays runs n relays to one transport, with the defaults of outbox.
func startRelays(ctx context.Context, st outbox.Store, t bus.Transport, n int, opts outbox.RelayOptions) (*relays, error) {
	r := &relays{news: make(chan struct{}, 1), holding: make([]atomic.Int64, n)}
	ctx, r.cancel = context.WithCancel(ctx)
	opts.Logger = silent()
	for i := range n {
		own := opts
		own.Hooks = outbox.Hooks{
			Settled:     func(_ string, rows int, _ time.Duration) { r.settled.Add(int64(rows)); r.tell() },
			LeaseGained: func(_ string, leases []outbox.Lease) { r.holding[i].Add(int64(len(leases))); r.tell() },
			LeaseLost:   func(_ string, partitions int) { r.holding[i].Add(-int64(partitions)); r.tell() },
			Sent: func(string, int) {
				r.mu.Lock()
				defer r.mu.Unlock()
				if r.sentAt.IsZero() {
					r.sentAt = time.Now()
				}
			},
		}
		relay, err := outbox.NewRelay(st, t, &own)
		if err != nil {
			r.cancel()
			r.running.Wait()
			return nil, err
		}
		r.running.Go(func() {
			err := relay.Run(ctx)
			r.mu.Lock()
			r.errs = append(r.errs, err)
			r.mu.Unlock()
			r.ended.Store(true)
			r.tell()
		})
	}
	return r, nil
}

func (r *relays) tell() {
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// until waits for a condition that may change when something is settled or a lease changes hands.
func (r *relays) until(ctx context.Context, what string, met func() bool) error {
	for !met() {
		if r.ended.Load() {
			return fmt.Errorf("wait for %s: a relay has ended: %w", what, errors.Join(r.stop(), errors.New("it was to go on")))
		}
		select {
		case <-r.news:
		case <-ctx.Done():
			return fmt.Errorf("wait for %s (%d settled): %w", what, r.settled.Load(), ctx.Err())
		}
	}
	return nil
}

// drained waits until n rows have been settled since the start.
func (r *relays) drained(ctx context.Context, n int) error {
	return r.until(ctx, fmt.Sprintf("%d rows", n), func() bool { return r.settled.Load() >= int64(n) })
}

// balanced waits until each relay holds its fair share of the partitions.
func (r *relays) balanced(ctx context.Context) error {
	share := int64(outbox.Partitions / len(r.holding))
	return r.until(ctx, "fair shares", func() bool {
		for i := range r.holding {
			if r.holding[i].Load() != share {
				return false
			}
		}
		return true
	})
}

// firstSend is when the first batch was handed to the broker.
func (r *relays) firstSend() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sentAt
}

// stop ends the relays and answers their errors.
func (r *relays) stop() error {
	r.cancel()
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}
