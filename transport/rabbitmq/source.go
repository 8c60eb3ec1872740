package rabbitmq

import (
	"context"
	"fmt"
	"sync"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// kind of a subscription.
type kind int

const (
	shared kind = iota // a group without order: its members compete
	copied             // no group: a queue of our own
	single             // an ordered group: one member is active
)

// A source is one open subscription. A goroutine of its own (session.go) keeps a connection; what arrives there waits in
// feeds until it is received.
type source struct {
	t       *Transport
	sub     bus.Subscription
	kind    kind
	max     int // deliveries handed out and not settled
	queues  []Queue
	binding *cloudevents.Binding

	gone   chan struct{} // closed by Close
	stop   chan context.Context
	done   chan struct{} // closed when the goroutine has ended
	cancel context.CancelFunc

	mu     sync.Mutex   // guards what follows, and every feed and tag
	ses    *session     // nil while there is no connection
	feeds  []*feed      // one for each topic; of a copy they stay over connections
	held   int          // handed out and not settled
	turns  driver.Turns // of feeds
	bell   driver.Bell  // rings when a blocked Receive should look again
	closed bool
	failed error // why there will be no connection any more
}

// quantum is how many messages a feed gives before the next one has its turn.
const quantum = 16

// Subscribe implements bus.Transport. It makes the exchange of each topic, that of its dead letters and the queue of the
// group where they are not there, unless Options.Require, and binds the queue.
func (t *Transport) Subscribe(ctx context.Context, sub bus.Subscription) (bus.Source, error) {
	s, err := t.subscribe(ctx, sub)
	if err != nil {
		return nil, fmt.Errorf("rabbitmq: subscribe: %w", err)
	}
	return s, nil
}

func (t *Transport) subscribe(ctx context.Context, sub bus.Subscription) (*source, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if err := driver.CheckSubscription(sub, checkTopic); err != nil {
		return nil, err
	}
	if err := t.declareOptions(ctx); err != nil {
		return nil, err
	}
	s := &source{t: t, sub: sub, max: sub.MaxInFlight, binding: cloudevents.AMQP(), bell: driver.NewBell(), gone: make(chan struct{}),
		stop: make(chan context.Context, 1), done: make(chan struct{})}
	if s.max == 0 {
		s.max = 1000
	}
	switch {
	case sub.Group == "":
		s.kind = copied
	case sub.Ordered:
		s.kind = single
	}
	for _, topic := range sub.Topics {
		if err := t.declare(ctx, topic); err != nil {
			return nil, fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
		}
		q := Queue{}
		if s.kind != copied {
			var err error
			if q, err = t.queueOf(topic, sub.Group, sub.Ordered); err != nil {
				return nil, fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
			}
		}
		s.queues = append(s.queues, q)
	}
	ses, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	var running context.Context
	running, s.cancel = context.WithCancel(context.Background())
	t.mu.Lock()
	closed := t.closed
	if !closed {
		t.sources[s] = struct{}{}
	}
	t.mu.Unlock()
	if closed {
		s.cancel()
		s.leave(ses)
		ses.close(ctx)
		return nil, errTransportClosed
	}
	go s.run(running, ses)
	return s, nil
}

// prefetch is how many messages of one queue the node delivers before the first is acknowledged. Every member of an
// ordered group has to have the same: what comes again to its next member is at most that much.
func (s *source) prefetch() int {
	return min((s.max+len(s.queues)-1)/len(s.queues), 65535)
}

var errSourceClosed = fmt.Errorf("%w: the source was closed; subscribe again", bus.ErrClosed)

// Receive implements bus.Source. It blocks while there is no connection, and fails with bus.ErrRefused when the node
// does not accept the credentials any more, or the queue has become another one.
func (s *source) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	if max < 1 {
		return nil, fmt.Errorf("rabbitmq: receive: %w: max is %d; ask for at least 1", sixfold.ErrInvalid, max)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("rabbitmq: receive: %w", err)
		}
		ds, err := s.poll(max)
		if len(ds) > 0 || err != nil {
			return ds, err
		}
		select {
		case <-s.bell.C():
		case <-s.gone:
		case <-ctx.Done():
		}
	}
}

// poll takes what is there, or arranges for the bell to ring.
func (s *source) poll(most int) ([]*bus.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, fmt.Errorf("rabbitmq: receive: %w", errSourceClosed)
	case s.failed != nil:
		return nil, fmt.Errorf("rabbitmq: receive: %w", s.failed)
	}
	ds := s.take(min(most, s.max-s.held))
	s.bell.Wait(len(ds) == 0)
	return ds, nil
}

// take hands out up to n messages, beginning with the feed that has its turn.
func (s *source) take(n int) []*bus.Delivery {
	if n <= 0 {
		return nil
	}
	var ds []*bus.Delivery
	s.turns.Take(len(s.feeds), n, quantum, func(feed, most int) int {
		before := len(ds)
		ds = s.feeds[feed].hand(most, ds)
		return len(ds) - before
	})
	return ds
}

// own answers what is held for d, or nil when it is not this source's any more. mu is held.
func (s *source) own(d *bus.Delivery) *held {
	if d == nil {
		return nil
	}
	if h, ok := d.Token.(*held); ok && h.live && h.f.s == s {
		return h
	}
	return nil
}

// Extend implements bus.Source. RabbitMQ has no leases to extend (but acknowledgements are due within its
// consumer_timeout, 30 minutes by default), so this only says whether deliveries are still ours.
func (s *source) Extend(_ context.Context, ds []*bus.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("rabbitmq: extend: %w", errSourceClosed)
	}
	lost := 0
	for _, d := range ds {
		if s.own(d) == nil {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("rabbitmq: extend: %w: %d of %d were settled, or the connection was lost", bus.ErrLost, lost, len(ds))
	}
	return nil
}

// Close implements bus.Source: what was delivered and not settled goes back, as long as ctx lasts. It blocks until the
// goroutine of the source has ended, and can be called again.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.gone)
		s.stop <- ctx
	}
	s.mu.Unlock()
	var err error
	select {
	case <-s.done:
	case <-ctx.Done():
		err = fmt.Errorf("rabbitmq: close a source: what it held goes to others when the node notices: %w", ctx.Err())
		s.cancel()
		<-s.done
	}
	s.cancel()
	s.t.mu.Lock()
	delete(s.t.sources, s)
	s.t.mu.Unlock()
	return err
}
