package kafka

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
	shared kind = iota // a group, ordered or not: Kafka orders partitions in any case
	copied             // no group: all partitions, from now on
)

// A source is one open subscription. A goroutine of its own (session.go) keeps a client; what arrives there waits in
// feeds, one for each partition that is ours, until it is received.
type source struct {
	t       *Transport
	sub     bus.Subscription
	kind    kind
	max     int // deliveries handed out and not settled
	binding *cloudevents.Binding

	gone   chan struct{} // closed by Close
	stop   chan context.Context
	done   chan struct{} // closed when the goroutine has ended
	cancel context.CancelFunc

	mu       sync.Mutex // guards what follows, and every feed
	ses      *session   // nil while there is none
	feeds    []*feed
	held     int          // handed out and not settled
	buffered int          // arrived and not handed out
	turns    driver.Turns // of feeds
	bell     driver.Bell  // rings when a blocked Receive should look again
	closed   bool
	failed   error // why nothing will come any more
}

// quantum is how many messages a feed gives before the next one has its turn.
const quantum = 64

// Subscribe implements bus.Transport. It makes each topic, and that of its dead letters, where they are not there, unless
// Options.Require. The group is joined in the background.
func (t *Transport) Subscribe(ctx context.Context, sub bus.Subscription) (bus.Source, error) {
	s, err := t.subscribe(ctx, sub)
	if err != nil {
		return nil, fmt.Errorf("kafka: subscribe: %w", err)
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
	s := &source{t: t, sub: sub, max: sub.MaxInFlight, binding: cloudevents.Kafka(), bell: driver.NewBell(), gone: make(chan struct{}),
		stop: make(chan context.Context, 1), done: make(chan struct{})}
	if s.max == 0 {
		s.max = 1000
	}
	if sub.Group == "" {
		s.kind = copied
	}
	for _, topic := range sub.Topics {
		if err := t.declare(ctx, topic); err != nil {
			return nil, fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
		}
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
		ses.abort()
		return nil, errTransportClosed
	}
	go s.run(running, ses)
	return s, nil
}

// reserveOf is how far ahead of what was handed out a commit says that more may be: what comes again after a death, and was
// in nobody's hands, is counted as suspect up to that.
func (s *source) reserveOf() int64 { return int64(min(max(s.max, 64), 4096)) }

// reserve has a commit let more be handed out. mu is held.
func (s *source) reserve() {
	if s.ses != nil && s.kind != copied {
		signal(s.ses.urgent)
	}
}

var errSourceClosed = fmt.Errorf("%w: the source was closed; subscribe again", bus.ErrClosed)

// Receive implements bus.Source. It blocks while there is no connection and while no partition is ours, and fails with
// bus.ErrRefused when the brokers do not accept the credentials any more, or never did for the group.
func (s *source) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	if max < 1 {
		return nil, fmt.Errorf("kafka: receive: %w: max is %d; ask for at least 1", sixfold.ErrInvalid, max)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("kafka: receive: %w", err)
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
		return nil, fmt.Errorf("kafka: receive: %w", errSourceClosed)
	case s.failed != nil:
		return nil, fmt.Errorf("kafka: receive: %w", s.failed)
	}
	ds := s.take(min(most, s.max-s.held))
	s.bell.Wait(len(ds) == 0)
	if s.ses != nil && s.buffered <= s.ses.target()/2 {
		signal(s.ses.hungry)
	}
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
	if h, ok := d.Token.(*held); ok && h.live && h.f.s == s && !h.f.dead {
		return h
	}
	return nil
}

// Extend implements bus.Source. The member's heartbeats go on while handlers run, however long they take, so this only
// says whether deliveries are still ours.
func (s *source) Extend(_ context.Context, ds []*bus.Delivery) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("kafka: extend: %w", errSourceClosed)
	}
	lost := 0
	for _, d := range ds {
		if s.own(d) == nil {
			lost++
		}
	}
	if lost > 0 {
		return fmt.Errorf("kafka: extend: %w: %d of %d were settled, or their partition went to another member", bus.ErrLost, lost, len(ds))
	}
	return nil
}

// Close implements bus.Source: what is settled is committed and the group left, as long as ctx lasts; what was delivered
// and not settled comes to the partition's next member. It blocks until the goroutine of the source has ended, and can be
// called again.
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
		err = fmt.Errorf("kafka: close a source: what it held goes to others when the brokers notice: %w", ctx.Err())
		s.cancel()
		<-s.done
	}
	s.cancel()
	s.t.mu.Lock()
	delete(s.t.sources, s)
	s.t.mu.Unlock()
	return err
}
