package nats

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// A source is one open subscription. A goroutine of its own (session.go) keeps a connection; what arrives there waits in
// feeds until it is received.
type source struct {
	t         *Transport
	sub       bus.Subscription
	kind      kind
	max       int // deliveries handed out and not settled
	parts     []*part
	laneCount int
	binding   *cloudevents.Binding

	gone   chan struct{} // closed by Close
	stop   chan context.Context
	done   chan struct{} // closed when the goroutine has ended
	cancel context.CancelFunc

	mu       sync.Mutex // guards what follows, and every feed and batch
	ses      *session   // nil while there is no connection
	feeds    []*feed
	batches  map[*batch]struct{}
	held     int          // handed out and not settled
	buffered int          // arrived and not handed out
	waiting  int          // bytes of these
	turns    driver.Turns // of feeds
	bell     driver.Bell  // rings when a blocked Receive should look again
	closed   bool
	failed   error // why there will be no connection any more
}

// part is what a source has of one topic.
type part struct {
	topic   string
	route   *route
	durable string
	copy    *feed  // of a copy: stays over connections
	member  string // of an ordered group: our id on the last connection
}

// quantum is how many messages a feed gives before the next one has its turn.
const quantum = 16

// Subscribe implements bus.Transport. It makes the stream of each topic, and that of its dead letters, where they are not
// there, unless Options.Require.
func (t *Transport) Subscribe(ctx context.Context, sub bus.Subscription) (bus.Source, error) {
	s, err := t.subscribe(ctx, sub)
	if err != nil {
		return nil, fmt.Errorf("nats: subscribe: %w", err)
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
	s := &source{t: t, sub: sub, max: sub.MaxInFlight, binding: cloudevents.NATS(), bell: driver.NewBell(), gone: make(chan struct{}),
		stop: make(chan context.Context, 1), done: make(chan struct{}), batches: make(map[*batch]struct{})}
	if s.max == 0 {
		s.max = 1000
	}
	switch {
	case sub.Group == "":
		s.kind = copied
	case sub.Ordered:
		s.kind = laned
	}
	for _, topic := range sub.Topics {
		if err := t.declare(ctx, topic); err != nil {
			return nil, fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
		}
		s.parts = append(s.parts, &part{topic: topic})
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
		ses.close()
		return nil, errTransportClosed
	}
	go s.run(running, ses)
	return s, nil
}

var errSourceClosed = fmt.Errorf("%w: the source was closed; subscribe again", bus.ErrClosed)

// Receive implements bus.Source. It blocks while there is no connection, and fails with bus.ErrRefused when the servers
// do not accept the credentials any more.
func (s *source) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	if max < 1 {
		return nil, fmt.Errorf("nats: receive: %w: max is %d; ask for at least 1", sixfold.ErrInvalid, max)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("nats: receive: %w", err)
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
	if s.closed || s.failed != nil {
		defer s.mu.Unlock()
		if s.closed {
			return nil, fmt.Errorf("nats: receive: %w", errSourceClosed)
		}
		return nil, fmt.Errorf("nats: receive: %w", s.failed)
	}
	ds := s.take(min(most, s.max-s.held))
	s.bell.Wait(len(ds) == 0)
	ses, pulls := s.ses, s.pulls()
	s.mu.Unlock()
	ses.pull(pulls)
	return ds, nil
}

// take hands out up to n messages, beginning with the feed that has its turn.
func (s *source) take(n int) []*bus.Delivery {
	if n <= 0 || s.buffered == 0 && s.kind == shared {
		return nil
	}
	var ds []*bus.Delivery
	now := time.Now()
	s.turns.Take(len(s.feeds), n, quantum, func(feed, most int) int {
		before := len(ds)
		ds = s.feeds[feed].hand(most, now, ds)
		return len(ds) - before
	})
	if s.kind == shared && len(ds) > 0 {
		all := make([]*held, len(ds))
		for i, d := range ds {
			all[i] = d.Token.(*held)
		}
		s.newBatch(all)
	}
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

// Extend implements bus.Source. Deliveries that are no longer ours answer bus.ErrLost; the others are extended, with those
// that they were received with and those that wait to be received.
func (s *source) Extend(_ context.Context, ds []*bus.Delivery) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("nats: extend: %w", errSourceClosed)
	}
	lost := 0
	var acks []string
	until := time.Now().Add(s.ours())
	touched := make(map[*batch]struct{})
	for _, d := range ds {
		h := s.own(d)
		if h == nil {
			lost++
		} else if h.batch != nil {
			touched[h.batch] = struct{}{}
		}
	}
	for b := range touched {
		b.until = until
		for _, h := range b.all {
			if h.live {
				acks = append(acks, h.ack)
			}
		}
	}
	if s.kind == shared {
		for _, f := range s.feeds {
			for i := range f.buf.Len() {
				h := *f.buf.At(i)
				h.until = until
				acks = append(acks, h.ack)
			}
		}
	}
	ses := s.ses
	s.mu.Unlock()
	if ses != nil {
		for _, subject := range acks {
			if err := ses.nc.Publish(subject, inProgress); err != nil {
				return fmt.Errorf("nats: extend: %w", classify(err))
			}
		}
	}
	if lost > 0 {
		return fmt.Errorf("nats: extend: %w: %d of %d were settled, or went to others", bus.ErrLost, lost, len(ds))
	}
	return nil
}

// Close implements bus.Source: what was delivered and not settled goes back, as long as ctx lasts. It blocks until the
// goroutine of the source has ended, and can be called again.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	if first {
		s.closed = true
		close(s.gone)
		s.stop <- ctx
	}
	s.mu.Unlock()
	var err error
	select {
	case <-s.done:
	case <-ctx.Done():
		err = fmt.Errorf("nats: close a source: what it held goes to others later: %w", ctx.Err())
		s.cancel()
		<-s.done
	}
	s.cancel()
	s.t.mu.Lock()
	delete(s.t.sources, s)
	s.t.mu.Unlock()
	return err
}
