package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A sender is one pipe: a channel with confirms that never reconnects, and what is in flight on it. What can be refused is
// refused before it is handed over and costs its key only. A return costs its key only as well (returns.go). A nack or
// an error of the channel breaks the pipe: the node has taken what came behind it, perhaps, and will take nothing more.
type sender struct {
	t        *Transport
	link     *link
	ch       *amqp.Channel
	confirms chan amqp.Confirmation
	returns  chan amqp.Return
	closes   chan *amqp.Error
	gone     chan struct{} // closed when the pipe has ended
	done     chan struct{} // closed when the goroutine that listens has ended

	enc *encoder // of the goroutine that sends

	mu       sync.Mutex          // guards what follows
	window   driver.Window[slot] // by delivery tag
	failed   map[string]struct{} // keys
	proven   map[string]struct{} // topics of which something was confirmed and not returned
	unsure   map[string]*unsure  // keys with something in flight to a topic that is not proven
	room     chan struct{}       // at most one token: look again
	waiting  waiting             // what Send waits for
	cause    error               // why it ended
	watchdog *time.Timer
	seen     uint64 // oldest in the window when the watchdog looked last
	idle     bool   // nothing was in flight then
}

// unsure is what a key has in flight to one topic that may have no queue.
type unsure struct {
	topic string
	n     int
}

type waiting int

const (
	forNothing waiting = iota
	forRoom
	forConfirm
)

var (
	errSenderClosed = fmt.Errorf("%w: the sender or its transport was closed; open another", bus.ErrClosed)
	errUnconfirmed  = fmt.Errorf("rabbitmq: send: %w: no confirm before the sender ended; the message is in doubt", bus.ErrUnavailable)
)

// Open implements bus.Transport: it dials.
func (t *Transport) Open(ctx context.Context) (bus.Sender, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("rabbitmq: open a sender: %w", err)
	}
	return s, nil
}

func (t *Transport) open(ctx context.Context) (*sender, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if err := t.declareOptions(ctx); err != nil {
		return nil, err
	}
	l, err := t.link(ctx, "sender")
	if err != nil {
		return nil, err
	}
	s := &sender{t: t, link: l, gone: make(chan struct{}), done: make(chan struct{}), room: make(chan struct{}, 1), idle: true,
		failed: make(map[string]struct{}), proven: make(map[string]struct{}), unsure: make(map[string]*unsure),
		confirms: make(chan amqp.Confirmation, 256), returns: make(chan amqp.Return, driver.WindowSlots), closes: make(chan *amqp.Error, 1)}
	s.window.Start(1)
	s.enc = newEncoder(t, l.conn.Config.FrameSize)
	err = l.asking(ctx, func() (err error) {
		if s.ch, err = l.conn.Channel(); err == nil {
			err = s.ch.Confirm(false)
		}
		return err
	})
	if err == nil {
		err = s.begin()
	}
	if err != nil {
		if s.ch != nil && l.raw == nil {
			s.ch.Close()
		}
		l.abort()
		return nil, classify(err)
	}
	return s, nil
}

// begin listens for confirms, which are in the order of the messages, and for returns, of which each comes before the
// confirm of its message.
func (s *sender) begin() error {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errTransportClosed
	}
	s.ch.NotifyClose(s.closes)
	s.ch.NotifyReturn(s.returns)
	s.ch.NotifyPublish(s.confirms)
	t.senders[s] = struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchdog = time.AfterFunc(t.o.AckTimeout/2, s.watch)
	go s.listen()
	return nil
}

// Send implements bus.Sender. It blocks while 8,192 messages or 32 MB have no confirm, and while a key that changes its
// topic has something in flight which may have no queue; when ctx ends meanwhile, what was not handed over fails with
// bus.ErrUnavailable.
func (s *sender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	p := driver.NewBatch("rabbitmq", &s.mu, len(batch))
	for i := range batch {
		if err := s.hand(ctx, p, i, &batch[i]); err != nil {
			s.mu.Lock()
			p.Settle(i, fmt.Errorf("rabbitmq: send to %s: %w", driver.Quote(batch[i].Topic), err))
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Handed()
	return p
}

// hand gives one envelope to the channel, or says why not. What it has handed over gets its answer elsewhere.
func (s *sender) hand(ctx context.Context, p *driver.Batch, i int, o *bus.Outgoing) error {
	key := ""
	if o.Envelope != nil {
		key = o.Key
	}
	if err := s.accepts(ctx, key, o.Topic); err != nil {
		return s.refuse(ctx, key, o.MayMiss, err)
	}
	routing, size, err := s.enc.encode(ctx, o)
	if err != nil {
		return s.refuse(ctx, key, o.MayMiss, err)
	}
	if err := s.enter(ctx, slot{p: p, i: i, size: size, topic: o.Topic, key: key, id: o.ID, mayMiss: o.MayMiss}); err != nil {
		return s.refuse(ctx, key, o.MayMiss, err)
	}
	if err := s.ch.PublishWithContext(context.WithoutCancel(ctx), o.Topic, routing, true, false, s.enc.msg); err != nil {
		s.broken(err) // which answers this one as well
	}
	return nil
}

// accepts says why an envelope of a key cannot follow now. A key that goes to another topic waits for what it has in
// flight to one that may have no queue: if that is returned, nothing of the key may be taken after it.
func (s *sender) accepts(ctx context.Context, key, topic string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.await(ctx, forConfirm, func() (bool, error) {
		if _, failed := s.failed[key]; failed {
			return true, fmt.Errorf("%w; open another sender", bus.ErrBehindFailed)
		}
		u := s.unsure[key]
		return u == nil || u.topic == topic, nil
	})
}

// enter waits for room in the window.
func (s *sender) enter(ctx context.Context, sl slot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.await(ctx, forRoom, func() (bool, error) { return !s.window.Full(sl.size), nil }); err != nil {
		return err
	}
	if _, proven := s.proven[sl.topic]; !proven && sl.key != "" && !sl.mayMiss {
		sl.unproven = true
		u := s.unsure[sl.key]
		if u == nil {
			u = &unsure{topic: sl.topic}
			s.unsure[sl.key] = u
		}
		u.n++
	}
	s.window.Push(sl, sl.size)
	return nil
}

// await waits until ready answers true, the pipe has ended, or ctx has. mu is held, except while it waits.
func (s *sender) await(ctx context.Context, what waiting, ready func() (bool, error)) error {
	for {
		if s.cause != nil {
			return s.cause
		}
		if ok, err := ready(); ok || err != nil {
			return err
		}
		s.waiting = what
		s.mu.Unlock()
		var err error
		select {
		case <-s.room:
		case <-s.gone:
		case <-ctx.Done():
			err = fmt.Errorf("%w: the node has not confirmed what is in flight yet: %w", bus.ErrUnavailable, ctx.Err())
		}
		s.mu.Lock()
		s.waiting = forNothing
		if err != nil {
			return err
		}
	}
}

// refuse notes the key of what was not handed over.
func (s *sender) refuse(ctx context.Context, key string, mayMiss bool, err error) error {
	if ctx.Err() != nil && !errors.Is(err, bus.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	}
	if key != "" && !(mayMiss && errors.Is(err, bus.ErrUnroutable)) {
		s.mu.Lock()
		s.failed[key] = struct{}{}
		s.mu.Unlock()
	}
	return err
}

// broken ends the pipe when a message could not be written. The goroutine that listens knows more about why, if the node
// has said it.
func (s *sender) broken(err error) {
	if s.link.raw == nil {
		go s.ch.Close() // on the user's connection; the channel is of no use any more
	}
	select {
	case <-s.done:
	case <-time.After(closeLimit):
	}
	s.end(lostBecause(err))
}

// lostBecause is the end of a channel that nobody here closed.
func lostBecause(err error) error {
	if err == nil {
		return fmt.Errorf("%w: the connection was lost; open another sender", bus.ErrUnavailable)
	}
	return fmt.Errorf("%w: the connection was lost: %w; open another sender", bus.ErrUnavailable, err)
}

// watch ends the pipe when the oldest message has had no confirm for AckTimeout, or half as long again.
func (s *sender) watch() {
	s.mu.Lock()
	if s.cause != nil {
		s.mu.Unlock()
		return
	}
	stuck := !s.idle && s.window.Oldest() == s.seen && !s.window.Empty()
	if !stuck {
		s.idle, s.seen = s.window.Empty(), s.window.Oldest()
		s.watchdog.Reset(s.t.o.AckTimeout / 2)
	}
	s.mu.Unlock()
	if stuck {
		s.end(fmt.Errorf("%w: no confirm within %v (a node with a memory or disk alarm takes nothing); open another sender", bus.ErrUnavailable, s.t.o.AckTimeout))
	}
}

// Close implements bus.Sender. It always answers nil.
func (s *sender) Close(context.Context) error {
	s.end(errSenderClosed)
	return nil
}

// end gives the pipe up. One that was lost stays known until it is closed, so that it can answer that the transport was. With
// the answers to all that is in flight it gives those that are kept back until then.
func (s *sender) end(cause error, kept ...func()) {
	closed := errors.Is(cause, bus.ErrClosed)
	s.mu.Lock()
	quiet := s.window.Empty()
	first := s.stop(cause)
	for _, answer := range kept {
		answer()
	}
	s.mu.Unlock()
	if first {
		s.hangUp(closed && quiet)
	}
	if closed {
		s.t.mu.Lock()
		delete(s.t.senders, s)
		s.t.mu.Unlock()
	}
}

// stop ends the pipe, but for what hangUp does, which is left to whoever gets true: nothing more is sent or confirmed. mu is
// held.
func (s *sender) stop(cause error) (first bool) {
	first = s.cause == nil
	if first || errors.Is(cause, bus.ErrClosed) {
		s.cause = cause
	}
	if !first {
		return false
	}
	close(s.gone)
	for !s.window.Empty() {
		if sl, ok := s.window.Take(s.window.Oldest()); ok {
			sl.p.Settle(sl.i, errUnconfirmed)
		}
	}
	s.watchdog.Stop()
	return true
}

// hangUp closes the channel and our own connection: in order if nothing was in flight, else at once.
func (s *sender) hangUp(inOrder bool) {
	switch {
	case s.link.raw == nil:
		go s.ch.Close() // it may wait for as long as the user's connection is blocked
	case inOrder:
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.link.close(ctx)
	default:
		s.link.abort()
	}
}
