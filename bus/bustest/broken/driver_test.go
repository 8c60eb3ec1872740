package broken

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// A twist replaces behaviours of a driver. What is nil is as it should be. Functions of one twist share the state that
// they close over; their callers may be several goroutines.
type twist struct {
	capabilities func(d *driver, c bus.Capabilities) bus.Capabilities
	open         func(ctx context.Context, d *driver) (bus.Sender, error)
	subscribe    func(ctx context.Context, d *driver, s bus.Subscription) (bus.Source, error)
	close        func(ctx context.Context, d *driver) error
	send         func(ctx context.Context, s *sender, batch []bus.Outgoing) bus.Pending
	wait         func(ctx context.Context, p *pending) []error
	receive      func(ctx context.Context, s *source, max int) ([]*bus.Delivery, error)
	settle       func(ctx context.Context, s *source, ss []bus.Settlement) []error
	extend       func(ctx context.Context, s *source, ds []*bus.Delivery) error
	closeSource  func(ctx context.Context, s *source) error
	kill         func(s *source)
}

// base is what an unbroken driver states, so that cases which exclude each other can all be played.
type base int

const (
	plain     base = iota
	unordered      // cannot keep order, and refuses who asks for it
	dedup          // drops a second envelope of an id
	grouped        // has groups only, and refuses who asks for a copy
)

// driver is the broker of one case and every connection to it.
type driver struct {
	broker *memory.Transport
	base   base
	twist  twist

	mu       sync.Mutex
	down     bool // the broker is cut off
	closed   bool
	borrowed bool // the broker stands for a connection of the user
	kills    int
	seen     map[string]bool // ids, for dedup
}

// damaged marks messages that stand for unreadable bytes.
const damaged = "bustest-damaged"

const maxBody = 64 << 10

func newDriver(b base, t twist) *driver {
	broker := memory.New(&memory.Options{MaxBody: maxBody, Lease: 3 * time.Second})
	return &driver{broker: broker, base: b, twist: t, seen: make(map[string]bool)}
}

// locked runs f with the driver's own mutex.
func (d *driver) locked(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

func (d *driver) isDown() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.down
}

func (d *driver) isClosed() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.closed
}

// Capabilities implements bus.Transport.
func (d *driver) Capabilities() bus.Capabilities {
	c := d.broker.Capabilities()
	switch d.base {
	case unordered:
		c.OrderPerKey = false
	case dedup:
		c.DedupWindow = time.Minute
	case grouped:
		c.Copies = false
	}
	if d.twist.capabilities != nil {
		return d.twist.capabilities(d, c)
	}
	return c
}

// Open implements bus.Transport.
func (d *driver) Open(ctx context.Context) (bus.Sender, error) {
	if d.twist.open != nil {
		return d.twist.open(ctx, d)
	}
	return d.open(ctx)
}

func (d *driver) open(ctx context.Context) (bus.Sender, error) {
	inner, err := d.broker.Open(ctx)
	if err != nil {
		return nil, err
	}
	return &sender{inner: inner, d: d}, nil
}

// Subscribe implements bus.Transport.
func (d *driver) Subscribe(ctx context.Context, s bus.Subscription) (bus.Source, error) {
	if d.twist.subscribe != nil {
		return d.twist.subscribe(ctx, d, s)
	}
	if d.base == grouped && s.Group == "" {
		return nil, fmt.Errorf("broken: subscribe: %w: no copies here", bus.ErrRefused)
	}
	if d.base == unordered && s.Ordered {
		return nil, fmt.Errorf("broken: subscribe: %w: no order here", bus.ErrRefused)
	}
	return d.subscribe(ctx, s)
}

func (d *driver) subscribe(ctx context.Context, s bus.Subscription) (bus.Source, error) {
	inner, err := d.broker.Subscribe(ctx, s)
	if err != nil {
		return nil, err
	}
	return &source{inner: inner, d: d, sub: s, held: make(map[*bus.Delivery]bool), done: make(map[*bus.Delivery]bool)}, nil
}

// Close implements bus.Transport.
func (d *driver) Close(ctx context.Context) error {
	defer d.locked(func() { d.closed = true })
	if d.twist.close != nil {
		return d.twist.close(ctx, d)
	}
	if d.borrowed {
		return nil
	}
	return d.broker.Close(ctx)
}

// sender wraps a Sender.
type sender struct {
	d *driver

	mu     sync.Mutex
	inner  bus.Sender
	closed bool
	sends  int
}

// Send implements bus.Sender.
func (s *sender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	s.sends++
	if s.d.twist.send != nil {
		return s.d.twist.send(ctx, s, batch)
	}
	return s.send(ctx, batch)
}

func (s *sender) send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	p := &pending{s: s, callers: batch, batch: slices.Clone(batch), sentDown: s.d.isDown()}
	if s.d.base == dedup {
		s.dedup(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.inner = s.inner.Send(ctx, p.batch)
	return p
}

// dedup lets the broker confirm what it drops.
func (s *sender) dedup(p *pending) {
	s.d.locked(func() {
		p.batch = slices.DeleteFunc(p.batch, func(o bus.Outgoing) bool {
			again := s.d.seen[o.ID]
			s.d.seen[o.ID] = true
			if again {
				p.dropped++
			}
			return again
		})
	})
}

// Close implements bus.Sender.
func (s *sender) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.inner.Close(ctx)
}

func (s *sender) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// pending wraps a Pending.
type pending struct {
	s        *sender
	inner    bus.Pending
	callers  []bus.Outgoing // the slice itself
	batch    []bus.Outgoing // a copy
	dropped  int            // confirmed without being sent; only in batches of one
	sentDown bool           // the broker was cut off
}

// Wait implements bus.Pending.
func (p *pending) Wait(ctx context.Context) []error {
	if p.s.d.twist.wait != nil {
		return p.s.d.twist.wait(ctx, p)
	}
	return p.wait(ctx)
}

func (p *pending) wait(ctx context.Context) []error {
	return append(p.inner.Wait(ctx), make([]error, p.dropped)...)
}

// now is what is known without waiting.
func (p *pending) now() []error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return p.wait(ctx)
}

// answered is a Pending whose answers are there.
type answered []error

// Wait implements bus.Pending.
func (a answered) Wait(context.Context) []error { return slices.Clone(a) }

// source wraps a Source.
type source struct {
	inner bus.Source
	d     *driver
	sub   bus.Subscription

	mu        sync.Mutex
	closed    bool
	receiving int
	receives  int
	held      map[*bus.Delivery]bool // delivered and not settled
	done      map[*bus.Delivery]bool // settled by us
}

// Receive implements bus.Source.
func (s *source) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	s.locked(func() { s.receiving++; s.receives++ })
	defer s.locked(func() { s.receiving-- })
	if s.d.twist.receive != nil {
		return s.d.twist.receive(ctx, s, max)
	}
	return s.receive(ctx, max)
}

func (s *source) receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	ds, err := s.inner.Receive(ctx, max)
	s.locked(func() {
		for _, d := range ds {
			s.held[d] = true
			if d.Headers[damaged] != "" {
				d.Damaged = errors.New("no envelope")
			}
		}
	})
	return ds, err
}

// Settle implements bus.Source.
func (s *source) Settle(ctx context.Context, ss []bus.Settlement) []error {
	if s.d.twist.settle != nil {
		return s.d.twist.settle(ctx, s, ss)
	}
	return s.settle(ctx, ss)
}

func (s *source) settle(ctx context.Context, ss []bus.Settlement) []error {
	errs := s.inner.Settle(ctx, ss)
	s.locked(func() {
		for i, st := range ss {
			if errs[i] == nil {
				delete(s.held, st.Delivery)
				s.done[st.Delivery] = true
			}
		}
	})
	return errs
}

// Extend implements bus.Source.
func (s *source) Extend(ctx context.Context, ds []*bus.Delivery) error {
	if s.d.twist.extend != nil {
		return s.d.twist.extend(ctx, s, ds)
	}
	return s.inner.Extend(ctx, ds)
}

// Close implements bus.Source.
func (s *source) Close(ctx context.Context) error {
	s.locked(func() { s.closed = true })
	if s.d.twist.closeSource != nil {
		return s.d.twist.closeSource(ctx, s)
	}
	return s.inner.Close(ctx)
}

func (s *source) locked(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// unsettled is what the source holds, as settlements.
func (s *source) unsettled(release bool) (ss []bus.Settlement) {
	s.locked(func() {
		for d := range s.held {
			ss = append(ss, bus.Settlement{Delivery: d, Release: release})
		}
	})
	return ss
}

// damage puts bytes into a topic that are no envelope.
func (d *driver) damage(ctx context.Context, topic string, body []byte) error {
	inner, err := d.broker.Open(ctx)
	if err != nil {
		return err
	}
	e := &sixfold.Envelope{Headers: map[string]string{damaged: "yes"}, Body: body}
	return errors.Join(inner.Send(ctx, []bus.Outgoing{{Topic: topic, Envelope: e}}).Wait(ctx)...)
}
