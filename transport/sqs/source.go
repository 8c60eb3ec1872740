package sqs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A source is one subscription: a queue per topic, pollers that ask them for messages, and what they have answered.
type source struct {
	t      *Transport
	sub    bus.Subscription
	max    int
	parts  []*shelf
	ctx    context.Context // of polls and of what keeps a copy alive
	cancel context.CancelFunc
	polls  sync.WaitGroup // pollers
	work   sync.WaitGroup // the rest
	gone   chan struct{}  // closed with the source
	done   chan struct{}  // closed when all is given back

	mu       sync.Mutex // guards what follows
	change   *sync.Cond // room, demand or an end, for pollers
	buf      driver.Queue[*held]
	buffered int         // live ones in buf
	held     int         // handed out and not settled
	asked    int         // that requests under way may bring
	bell     driver.Bell // rings when a blocked Receive should look again
	received time.Time   // the last Receive
	lots     map[*lot]struct{}
	failed   error // bus.ErrRefused: the source has ended
	closed   bool
	closing  error // of giving back
}

// A shelf is a source's part in one queue.
type shelf struct {
	topic string
	place *place
	fifo  bool
	copy  *copied       // nil: a group's
	more  chan struct{} // tokens for further pollers
	owed  []string      // attempts that Close has cancelled; guarded by the source's mu
}

var errSourceClosed = fmt.Errorf("%w: the source was closed; subscribe again", bus.ErrClosed)

// Subscribe implements bus.Transport. It makes what the subscription needs, unless Options.Require forbids it.
func (t *Transport) Subscribe(ctx context.Context, sub bus.Subscription) (bus.Source, error) {
	s, err := t.subscribe(ctx, sub)
	if err != nil {
		return nil, fmt.Errorf("sqs: subscribe: %w", err)
	}
	return s, nil
}

func (t *Transport) subscribe(ctx context.Context, sub bus.Subscription) (*source, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if err := t.o.checkSubscription(sub); err != nil {
		return nil, err
	}
	if err := t.credentials(ctx); err != nil {
		return nil, err
	}
	if err := t.declareOptions(ctx); err != nil {
		return nil, err
	}
	s := &source{t: t, sub: sub, max: sub.MaxInFlight, gone: make(chan struct{}), done: make(chan struct{}), bell: driver.NewBell(), lots: make(map[*lot]struct{})}
	if s.max == 0 {
		s.max = 1000
	}
	s.change = sync.NewCond(&s.mu)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	for _, topic := range sub.Topics {
		p, err := t.shelf(ctx, topic, sub.Group)
		if err != nil {
			s.undo(ctx)
			return nil, fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
		}
		s.parts = append(s.parts, p)
	}
	t.mu.Lock()
	closed := t.closed
	if !closed {
		t.sources[s] = struct{}{}
	}
	t.mu.Unlock()
	if closed {
		s.undo(ctx)
		return nil, errTransportClosed
	}
	s.start()
	return s, nil
}

// shelf answers the queue of a group, or a new one of a copy.
func (t *Transport) shelf(ctx context.Context, topic, group string) (*shelf, error) {
	p := &shelf{topic: topic, more: make(chan struct{}, 64)}
	var err error
	if group == "" {
		p.copy, err = t.newCopy(ctx, topic)
		if err == nil {
			p.place = p.copy.place
		}
	} else {
		p.place, err = t.groupQueue(ctx, topic, group)
	}
	if err != nil {
		return nil, err
	}
	p.fifo = fifoName(p.place.name)
	return p, nil
}

// undo removes what a subscription that failed half-way has made for itself alone.
func (s *source) undo(ctx context.Context) {
	s.cancel()
	for _, p := range s.parts {
		if p.copy != nil {
			_ = s.t.endCopy(context.WithoutCancel(ctx), p.copy) // another process sweeps it
		}
	}
}

func (s *source) start() {
	for _, p := range s.parts {
		for i := range s.t.o.Pollers {
			s.polls.Go(func() { s.poller(p, i == 0) })
		}
		if p.copy != nil {
			s.work.Go(func() { s.t.keepCopy(s.ctx, p.copy) })
		}
	}
}

// Receive implements bus.Source. It blocks while SQS cannot be reached, and fails with bus.ErrRefused when it does not accept the
// credentials any more, or the queue was deleted.
func (s *source) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	if max < 1 {
		return nil, fmt.Errorf("sqs: receive: %w: max is %d; ask for at least 1", sixfold.ErrInvalid, max)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("sqs: receive: %w", err)
		}
		ds, err := s.take(max)
		if len(ds) > 0 || err != nil {
			return ds, err
		}
		select {
		case <-s.bell.C():
		case <-s.gone:
		case <-ctx.Done():
			s.mu.Lock()
			s.bell.Wait(false)
			s.mu.Unlock()
		}
	}
}

// take hands out what is there, or arranges for the bell to ring.
func (s *source) take(most int) ([]*bus.Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, fmt.Errorf("sqs: receive: %w", errSourceClosed)
	case s.failed != nil:
		return nil, fmt.Errorf("sqs: receive: %w", s.failed)
	}
	s.received = time.Now()
	var ds []*bus.Delivery
	for s.buf.Len() > 0 && len(ds) < most && s.held < s.max {
		h := s.buf.Pop()
		if !h.live {
			continue
		}
		s.buffered--
		s.held++
		h.out = true
		ds = append(ds, &h.delivery)
	}
	s.bell.Wait(len(ds) == 0)
	s.change.Broadcast()
	return ds, nil
}

// fail ends the source. mu is held.
func (s *source) fail(err error) {
	if s.failed == nil && !s.closed {
		s.failed = err
		s.t.o.Logger.Error("sqs: a subscription has ended", "group", s.sub.Group, "err", err)
	}
	s.bell.Ring()
	s.change.Broadcast()
}

// Close implements bus.Source: what was delivered and not settled goes back, as long as ctx lasts, and so does what a request that
// was under way may have brought. The queue of a copy is deleted. It can be called again.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	if first {
		s.closed = true
		close(s.gone)
		s.bell.Ring()
		s.change.Broadcast()
	}
	holds := s.held+s.buffered > 0
	s.mu.Unlock()
	if first {
		go s.giveBack(ctx, holds)
	}
	select {
	case <-s.done:
	case <-ctx.Done():
		<-s.done // its requests have ended with ctx
	}
	s.t.mu.Lock()
	delete(s.t.sources, s)
	s.t.mu.Unlock()
	if s.closing != nil {
		return fmt.Errorf("sqs: close a source: what it held comes again when its visibility has passed: %w", s.closing)
	}
	return nil
}

// lastPolls is how long Close waits for requests under way: what is given back while one that was cancelled still waits at the
// service would be handed to that, and come again only when the visibility has passed. See poll for why they are short then.
const lastPolls = 1500 * time.Millisecond

// giveBack is the rest of Close.
func (s *source) giveBack(ctx context.Context, holds bool) {
	defer close(s.done)
	if holds {
		polls, cancel := context.WithTimeout(ctx, lastPolls)
		stop := context.AfterFunc(polls, s.cancel)
		s.polls.Wait()
		stop()
		cancel()
	}
	s.cancel()
	s.polls.Wait()
	s.work.Wait()
	var errs []error
	s.mu.Lock()
	var all []*held
	for l := range s.lots {
		for _, h := range l.all {
			if h.live {
				all = append(all, h)
			}
		}
		l.end()
	}
	s.mu.Unlock()
	var keep []*held
	for _, h := range all {
		if h.lot.shelf.copy == nil {
			keep = append(keep, h)
		}
	}
	for _, p := range s.parts {
		if p.copy == nil {
			keep = append(keep, s.collect(ctx, p)...)
		}
	}
	for _, err := range s.t.release(ctx, keep) {
		if err != nil && !errors.Is(err, bus.ErrLost) {
			errs = append(errs, err)
			break
		}
	}
	for _, p := range s.parts {
		if p.copy != nil {
			if err := s.t.endCopy(ctx, p.copy); err != nil {
				errs = append(errs, err)
			}
		}
	}
	s.closing = errors.Join(errs...)
	if s.closing != nil && ctx.Err() == nil && !errors.Is(s.closing, bus.ErrRefused) {
		s.t.o.Logger.Warn("sqs: what a source held could not be given back and comes again when its visibility has passed", "group", s.sub.Group, "err", s.closing)
		s.closing = nil // an outage is no failure of closing
	}
}
