package outbox

import (
	"context"
	"fmt"
	"sync"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// FakeBroker is a broker of the tests. It keeps prefixes of keys, or, with Loose, takes each envelope for itself.
type FakeBroker struct {
	Loose     bool
	NoConfirm bool

	mu      sync.Mutex
	taken   []FakeTaken
	senders map[*fakeSender]struct{}
	opens   int
	sends   int
	most    int // envelopes without an answer at one time
	pending int
	down    error
	judge   func(bus.Outgoing) error
	hold    func(bus.Outgoing) bool
	stall   chan struct{} // Send blocks until it is closed
}

// FakeTaken is what the broker took.
type FakeTaken struct {
	Topic string
	*sixfold.Envelope
}

func (b *FakeBroker) set(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

// Judge answers an error for what is not taken; nil takes all.
func (b *FakeBroker) Judge(f func(bus.Outgoing) error) { b.set(func() { b.judge = f }) }

// Hold keeps the confirms of what it is true for until Release.
func (b *FakeBroker) Hold(f func(bus.Outgoing) bool) { b.set(func() { b.hold = f }) }

// Stall makes Send block until the result is called.
func (b *FakeBroker) Stall() (again func()) {
	c := make(chan struct{})
	b.set(func() { b.stall = c })
	return func() { b.set(func() { b.stall = nil }); close(c) }
}

// Release gives the confirms that are held.
func (b *FakeBroker) Release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.senders {
		s.answer(nil)
	}
}

// Cut makes the broker unreachable: senders are lost, and so are confirms that are held. Open answers err.
func (b *FakeBroker) Cut(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = err
	for s := range b.senders {
		s.lost = bus.ErrUnavailable
		s.answer(bus.ErrUnavailable)
	}
}

// Restore ends Cut.
func (b *FakeBroker) Restore() { b.set(func() { b.down = nil }) }

// Taken answers what was taken so far, in order.
func (b *FakeBroker) Taken() []FakeTaken {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]FakeTaken(nil), b.taken...)
}

// Bodies are those of what was taken.
func (b *FakeBroker) Bodies() (out []string) {
	for _, t := range b.Taken() {
		out = append(out, string(t.Body))
	}
	return out
}

// Counts answers how often a sender was opened, and how many envelopes were without an answer at one time.
func (b *FakeBroker) Counts() (opens, most int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opens, b.most
}

func (b *FakeBroker) Open(context.Context) (bus.Sender, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down != nil {
		return nil, b.down
	}
	b.opens++
	s := &fakeSender{b: b, failed: map[string]bool{}}
	if b.senders == nil {
		b.senders = map[*fakeSender]struct{}{}
	}
	b.senders[s] = struct{}{}
	return s, nil
}

func (b *FakeBroker) Subscribe(context.Context, bus.Subscription) (bus.Source, error) {
	return nil, fmt.Errorf("fake: %w", bus.ErrRefused)
}

func (b *FakeBroker) Capabilities() bus.Capabilities {
	return bus.Capabilities{Name: "fake", OrderPerKey: true, PrefixPerKey: !b.Loose, Confirms: !b.NoConfirm}
}

func (b *FakeBroker) Close(context.Context) error { return nil }

type fakeSender struct {
	b      *FakeBroker
	failed map[string]bool
	lost   error
	open   []*fakePending
}

type fakePending struct {
	b    *FakeBroker
	errs []error
	held []bool
	done chan struct{}
}

// Send hands over. A Loose sender is not closed by anything but Close.
func (s *fakeSender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	b := s.b
	b.mu.Lock()
	stall := b.stall
	b.mu.Unlock()
	if stall != nil {
		select {
		case <-stall:
		case <-ctx.Done():
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sends++
	p := &fakePending{b: b, errs: make([]error, len(batch)), held: make([]bool, len(batch)), done: make(chan struct{})}
	open := false
	for i, o := range batch {
		err := s.lost
		if err == nil && ctx.Err() != nil {
			err = fmt.Errorf("fake: %w: %w", bus.ErrUnavailable, ctx.Err())
		}
		if err == nil && s.failed[o.Key] {
			err = bus.ErrBehindFailed
		}
		if err == nil && b.judge != nil {
			err = b.judge(o)
		}
		if err == nil {
			env := *o.Envelope
			b.taken = append(b.taken, FakeTaken{o.Topic, &env})
			if b.hold != nil && b.hold(o) {
				p.held[i], open = true, true
				b.pending++
				b.most = max(b.most, b.pending)
			}
		} else if !b.Loose && o.Key != "" {
			s.failed[o.Key] = true
		}
		p.errs[i] = err
	}
	if open {
		s.open = append(s.open, p)
	} else {
		close(p.done)
	}
	return p
}

func (s *fakeSender) answer(err error) {
	for _, p := range s.open {
		for i := range p.errs {
			if p.held[i] {
				p.errs[i], p.held[i] = err, false
				s.b.pending--
			}
		}
		close(p.done)
	}
	s.open = nil
}

func (s *fakeSender) Close(context.Context) error {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.lost = fmt.Errorf("fake: %w: the sender was closed", bus.ErrUnavailable)
	s.answer(s.lost)
	delete(s.b.senders, s)
	return nil
}

func (p *fakePending) Wait(ctx context.Context) []error {
	select {
	case <-p.done:
		return p.errs
	case <-ctx.Done():
	}
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	errs := append([]error(nil), p.errs...)
	for i := range errs {
		if p.held[i] {
			errs[i] = ctx.Err()
		}
	}
	return errs
}
