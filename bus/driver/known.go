package driver

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// How long an answer is believed. What is deleted meanwhile has to be noticed by what is sent there.
const (
	BelieveFound   = 30 * time.Second
	BelieveMissing = 200 * time.Millisecond
	mostKnown      = 10_000
)

// Known remembers where topics are, so that not every message asks the broker. A topic that was found is believed for
// BelieveFound, one that was bus.ErrUnroutable for BelieveMissing; any other error is not remembered. One look-up of a topic is
// under way at a time. The zero value is empty and safe for concurrent use.
type Known[R any] struct {
	mu sync.Mutex
	by map[string]*known[R]
}

type known[R any] struct {
	looking chan struct{} // held by who looks
	mu      sync.Mutex
	route   R
	err     error // unroutable
	until   time.Time
}

func (k *known[R]) answer() (R, error, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.route, k.err, time.Now().Before(k.until)
}

func (k *known[R]) learn(r R, err error) {
	believe := BelieveFound
	if err != nil {
		believe = BelieveMissing
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.route, k.err, k.until = r, err, time.Now().Add(believe)
}

func (rs *Known[R]) of(topic string) *known[R] {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	k := rs.by[topic]
	if k == nil {
		if rs.by == nil || len(rs.by) >= mostKnown {
			rs.by = make(map[string]*known[R])
		}
		k = &known[R]{looking: make(chan struct{}, 1)}
		rs.by[topic] = k
	}
	return k
}

// Forget makes the next Find look.
func (rs *Known[R]) Forget(topic string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.by, topic)
}

// Learn enters what was found out otherwise.
func (rs *Known[R]) Learn(topic string, r R) { rs.of(topic).learn(r, nil) }

// Find answers what is known of a topic, or else what find finds.
func (rs *Known[R]) Find(ctx context.Context, topic string, find func(ctx context.Context, topic string) (R, error)) (R, error) {
	k := rs.of(topic)
	if r, err, ok := k.answer(); ok {
		return r, err
	}
	select {
	case k.looking <- struct{}{}:
	case <-ctx.Done():
		var none R
		return none, ctx.Err()
	}
	defer func() { <-k.looking }()
	if r, err, ok := k.answer(); ok { // another has looked meanwhile
		return r, err
	}
	r, err := find(ctx, topic)
	if err == nil || errors.Is(err, bus.ErrUnroutable) {
		k.learn(r, err)
	}
	return r, err
}
