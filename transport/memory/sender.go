package memory

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// A sender is one pipe. Its batches are taken while Send runs, so most confirms are there before Wait asks.
type sender struct {
	t      *Transport
	failed map[string]struct{} // keys
	open   []*pending          // with confirms that are withheld
	gone   chan struct{}       // closed with the sender
	cause  error               // why: bus.ErrUnavailable or bus.ErrClosed
}

// errOpen stands for a confirm that is withheld.
var errOpen = errors.New("open")

// Send implements bus.Sender. It blocks while a topic is full; when ctx ends meanwhile, what was not taken fails with
// bus.ErrUnavailable.
func (s *sender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	p := &pending{t: s.t, errs: make([]error, len(batch))}
	messages := s.copies(batch, p.errs)
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	for i := range batch {
		err := s.take(ctx, &batch[i], messages[i], p.errs[i])
		if err == errOpen {
			p.open++
		}
		p.errs[i] = err
	}
	if p.open > 0 {
		p.done = make(chan struct{})
		s.open = append(s.open, p)
		if s.cause != nil { // lost while the batch waited for room
			s.answer(s.unavailable())
		}
	}
	return p
}

// copies makes a message of each envelope that may be sent, without the lock. As deliveries, they come in small blocks.
func (s *sender) copies(batch []bus.Outgoing, errs []error) []*message {
	const block = 32
	out := make([]*message, len(batch))
	var room []message
	for i := range batch {
		if errs[i] = s.check(&batch[i]); errs[i] != nil {
			continue
		}
		if len(room) == 0 {
			room = make([]message, min(block, len(batch)-i))
		}
		room[0].env = copyEnvelope(batch[i].Envelope)
		out[i] = &room[0]
		room = room[1:]
	}
	return out
}

// check says why an envelope cannot be sent wherever it goes.
func (s *sender) check(o *bus.Outgoing) error {
	if o.Envelope == nil {
		return fmt.Errorf("memory: send: %w: there is no envelope; give one", bus.ErrRefused)
	}
	if n := size(o.Envelope); n > s.t.maxBody {
		return fmt.Errorf("memory: send to %.64q: %w: %d bytes of body and headers, the limit is %d; send less, or raise MaxBody",
			o.Topic, bus.ErrTooLarge, n, s.t.maxBody)
	}
	return nil
}

// take hands one envelope to its topic and keeps the prefix of its key.
func (s *sender) take(ctx context.Context, o *bus.Outgoing, m *message, bad error) error {
	key := ""
	if o.Envelope != nil {
		key = o.Key
	}
	if s.cause == nil && key != "" {
		if _, failed := s.failed[key]; failed {
			return fmt.Errorf("memory: send to %.64q: %w; open another sender", o.Topic, bus.ErrBehindFailed)
		}
	}
	err := bad
	if err == nil || s.cause != nil {
		err = s.route(ctx, o, m)
	}
	if err == nil || err == errOpen || key == "" || o.MayMiss && errors.Is(err, bus.ErrUnroutable) {
		return err
	}
	if s.failed == nil {
		s.failed = make(map[string]struct{})
	}
	s.failed[key] = struct{}{}
	return err
}

// route waits for room in the topic and adds the message.
func (s *sender) route(ctx context.Context, o *bus.Outgoing, m *message) error {
	t := s.t
	for {
		if s.cause != nil {
			return s.lost()
		}
		tp := t.topics[o.Topic]
		if tp == nil || !tp.exists() {
			return unroutable(o.Topic)
		}
		if t.refuse != nil {
			if err := t.refuse(o.Topic, o.Envelope); err != nil {
				return fmt.Errorf("memory: send to %.64q: %w", o.Topic, err)
			}
		}
		if tp.pending >= t.maxPending {
			if err := s.wait(ctx, tp); err != nil {
				return err
			}
			continue
		}
		tp.add(m)
		break
	}
	if t.tap != nil {
		t.tap(o.Topic, o.Envelope)
	}
	if t.hold != nil && t.hold(o.Topic, o.Envelope) {
		return errOpen
	}
	return nil
}

func unroutable(topic string) error {
	if err := sixfold.CheckTopic(topic); err != nil {
		return fmt.Errorf("memory: send: %w: %w", bus.ErrRefused, err)
	}
	return fmt.Errorf("memory: send to %.64q: %w; declare it, or subscribe a group", topic, bus.ErrUnroutable)
}

// wait gives the lock up until the topic may have room.
func (s *sender) wait(ctx context.Context, tp *topic) error {
	room := tp.wait()
	s.t.mu.Unlock()
	defer s.t.mu.Lock()
	select {
	case <-room:
	case <-s.gone:
	case <-ctx.Done():
		return fmt.Errorf("memory: send to %.64q: %w: the topic holds %d unsettled messages, the limit: %w",
			tp.name, bus.ErrUnavailable, s.t.maxPending, ctx.Err())
	}
	return nil
}

// Close implements bus.Sender. It never blocks and always answers nil.
func (s *sender) Close(context.Context) error {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.end(bus.ErrClosed)
	return nil
}

// end gives the pipe up. One that was lost stays known until it is closed, so that it can answer that the transport was.
func (s *sender) end(cause error) {
	first := s.cause == nil
	if first {
		close(s.gone)
		s.answer(s.unavailable())
	}
	if first || cause == bus.ErrClosed {
		s.cause = cause
	}
	if cause == bus.ErrClosed {
		delete(s.t.senders, s)
	}
}

// answer gives every open confirm the same answer.
func (s *sender) answer(err error) {
	for _, p := range s.open {
		for i := range p.errs {
			if p.errs[i] == errOpen {
				p.errs[i] = err
			}
		}
		p.open = 0
		close(p.done)
	}
	s.open = nil
}

func (s *sender) unavailable() error {
	return fmt.Errorf("memory: send: %w: no confirm before the sender ended; the message is in doubt", bus.ErrUnavailable)
}

func (s *sender) lost() error {
	return fmt.Errorf("memory: send: %w: the sender has ended; open another", s.cause)
}

// pending is a batch. Without withheld confirms it never changes, and done is nil.
type pending struct {
	t    *Transport
	errs []error
	open int
	done chan struct{}
}

// Wait implements bus.Pending.
func (p *pending) Wait(ctx context.Context) []error {
	if p.done == nil {
		return slices.Clone(p.errs)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	}
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	out := slices.Clone(p.errs)
	for i, err := range out {
		if err == errOpen {
			out[i] = fmt.Errorf("memory: wait: the message is in doubt: %w", ctx.Err())
		}
	}
	return out
}
