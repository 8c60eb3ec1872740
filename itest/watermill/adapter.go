// Package watermill runs Watermill's universal suite for Pub/Subs on Sixfold's transports, over a small adapter. It is a module of its own so
// that nothing else needs what Watermill needs.
package watermill

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// closeWithin bounds a Close, which Watermill gives no context.
const closeWithin = 30 * time.Second

// Publisher is a bus.Publisher as Watermill knows one. Messages with the same key stay in order.
type Publisher struct {
	p   *bus.Publisher
	key func(*message.Message) string
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher publishes through t. key may be nil: then no message has one.
func NewPublisher(t bus.Transport, key func(*message.Message) string) (*Publisher, error) {
	p, err := bus.NewPublisher(t, nil)
	if err != nil {
		return nil, err
	}
	return &Publisher{p, key}, nil
}

// Publish implements message.Publisher: it returns when the broker has all messages.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if len(messages) == 0 {
		return nil
	}
	envs := make([]*sixfold.Envelope, len(messages))
	for i, m := range messages {
		envs[i] = &sixfold.Envelope{ID: m.UUID, Source: "watermill", Type: "watermill.message", Time: time.Now().UTC(), ContentType: "application/octet-stream",
			Headers: maps.Clone(map[string]string(m.Metadata)), Body: m.Payload}
		if p.key != nil {
			envs[i].Key = p.key(m)
		}
	}
	return p.p.PublishEnvelopes(messages[0].Context(), topic, envs)
}

// Close implements message.Publisher.
func (p *Publisher) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	return p.p.Close(ctx)
}

// Subscriber is the sources of one group as Watermill knows them. Each Subscribe is one member of the group, which hands out one message at
// a time.
type Subscriber struct {
	t       bus.Subscriber
	group   string
	ordered bool

	mu      sync.Mutex // guards what follows
	closed  bool
	closing chan struct{}
	all     sync.WaitGroup
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber subscribes through t, in order where that can keep it.
func NewSubscriber(t bus.Subscriber, group string) *Subscriber {
	return &Subscriber{t: t, group: group, ordered: t.Capabilities().OrderPerKey, closing: make(chan struct{})}
}

func (s *Subscriber) subscribe(ctx context.Context, topic string) (bus.Source, error) {
	return s.t.Subscribe(ctx, bus.Subscription{Topics: []string{topic}, Group: s.group, Ordered: s.ordered, MaxInFlight: 10})
}

// SubscribeInitialize implements message.SubscribeInitializer: it makes the group known, so that messages wait for it.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	src, err := s.subscribe(ctx, topic)
	if err != nil {
		return err
	}
	return src.Close(ctx)
}

// Subscribe implements message.Subscriber.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("watermill: subscribe to %q: %w", topic, bus.ErrClosed)
	}
	src, err := s.subscribe(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(chan *message.Message)
	s.all.Go(func() {
		defer close(out)
		defer func() {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
			defer cancel()
			_ = src.Close(last) // what is not settled comes again
		}()
		run, cancel := context.WithCancel(ctx)
		defer cancel()
		stop := make(chan struct{})
		defer close(stop)
		s.all.Go(func() {
			select {
			case <-s.closing:
				cancel()
			case <-stop:
			}
		})
		s.pump(run, src, out)
	})
	return out, nil
}

// pump hands messages out until ctx ends.
func (s *Subscriber) pump(ctx context.Context, src bus.Source, out chan<- *message.Message) {
	for ctx.Err() == nil {
		ds, err := src.Receive(ctx, 1)
		if err != nil && (ctx.Err() != nil || !errors.Is(err, bus.ErrUnavailable)) {
			return
		}
		for _, d := range ds {
			if !s.hand(ctx, src, d, out) {
				return
			}
		}
	}
}

// hand gives one message out and settles it as it was answered. It reports false when there was no answer.
func (s *Subscriber) hand(ctx context.Context, src bus.Source, d *bus.Delivery, out chan<- *message.Message) bool {
	m := message.NewMessage(d.ID, d.Body)
	for k, v := range d.Headers {
		m.Metadata.Set(k, v)
	}
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	m.SetContext(own)
	var lost <-chan struct{}
	if d.Owned != nil {
		lost = d.Owned.Done()
	}
	var keep <-chan time.Time
	if every := s.t.Capabilities().ExtendEvery; every > 0 {
		tick := time.NewTicker(every)
		defer tick.Stop()
		keep = tick.C
	}
	offer := out
	for {
		select {
		case offer <- m:
			offer = nil // once
		case <-m.Acked():
			return s.settle(ctx, src, d, false)
		case <-m.Nacked():
			return s.settle(ctx, src, d, true)
		case <-keep:
			_ = src.Extend(ctx, []*bus.Delivery{d}) // that it is lost shows in Owned
		case <-lost:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// settle tells the broker, also when ctx has just ended: the answer is there. A failure means that the message comes again.
func (s *Subscriber) settle(ctx context.Context, src bus.Source, d *bus.Delivery, release bool) bool {
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeWithin)
	defer cancel()
	src.Settle(limit, []bus.Settlement{{Delivery: d, Release: release}})
	return true
}

// Close implements message.Subscriber: all channels are closed when it returns.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.all.Wait()
	return nil
}
