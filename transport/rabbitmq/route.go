package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
)

// How long an answer is believed. An exchange that is deleted meanwhile is noticed at once: the node closes the channel.
const (
	believeFound   = 30 * time.Second
	believeMissing = 200 * time.Millisecond
	mostRoutes     = 10_000
)

// routes remember whether topics have exchanges: publishing to one that is not there would cost everything in flight. One
// look-up per topic is under way at a time.
type routes struct {
	mu sync.Mutex
	by map[string]*known
}

type known struct {
	looking chan struct{} // held by who looks
	mu      sync.Mutex
	err     error // unroutable
	until   time.Time
}

func (k *known) answer(now time.Time) (error, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err, now.Before(k.until)
}

func (k *known) learn(err error) {
	believe := believeFound
	if err != nil {
		believe = believeMissing
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err, k.until = err, time.Now().Add(believe)
}

func (rs *routes) of(topic string) *known {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	k := rs.by[topic]
	if k == nil {
		if rs.by == nil || len(rs.by) >= mostRoutes {
			rs.by = make(map[string]*known)
		}
		k = &known{looking: make(chan struct{}, 1)}
		rs.by[topic] = k
	}
	return k
}

func (rs *routes) forget(topic string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.by, topic)
}

// route answers nil if a topic has an exchange, bus.ErrUnroutable if not, bus.ErrRefused if its name is illegal.
func (t *Transport) route(ctx context.Context, topic string) error {
	k := t.routes.of(topic)
	if err, ok := k.answer(time.Now()); ok {
		return err
	}
	if err := checkTopic(topic); err != nil {
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	select {
	case k.looking <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-k.looking }()
	if err, ok := k.answer(time.Now()); ok { // another has looked meanwhile
		return err
	}
	err := t.manage(ctx, func(l *link) error {
		return l.on(func(ch *amqp.Channel) error {
			return ch.ExchangeDeclarePassive(topic, "fanout", true, false, false, false, nil)
		})
	})
	if err = classify(err); err == nil || errors.Is(err, bus.ErrUnroutable) {
		k.learn(err)
	}
	return err
}
