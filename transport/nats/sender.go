package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A sender is one pipe: a connection of its own that never reconnects, and what is in flight on it. What can be refused
// is refused before it is handed over and costs its key only; the first bad answer to what was handed over breaks the
// pipe, since the server has taken what came behind it, perhaps, and will take nothing more.
type sender struct {
	t      *Transport
	nc     *natsgo.Conn
	prefix string // of the subjects for confirms; the message's number follows
	gone   chan struct{}

	// Of the goroutine that sends:
	enc    *encoder
	failed map[string]struct{} // keys
	reply  []byte

	mu       sync.Mutex // guards what follows, and nc
	window   driver.Window[slot]
	room     chan struct{} // at most one token: there is room in the window
	waiting  bool          // Send waits for it
	cause    error         // why it ended
	watchdog *time.Timer
	seen     uint64 // oldest in the window when the watchdog looked last
	idle     bool   // nothing was in flight then
}

var (
	errSenderClosed = fmt.Errorf("%w: the sender or its transport was closed; open another", bus.ErrClosed)
	errUnconfirmed  = fmt.Errorf("nats: send: %w: no confirm before the sender ended; the message is in doubt", bus.ErrUnavailable)
)

// Open implements bus.Transport: it dials.
func (t *Transport) Open(ctx context.Context) (bus.Sender, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("nats: open a sender: %w", err)
	}
	return s, nil
}

func (t *Transport) open(ctx context.Context) (*sender, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	s := &sender{t: t, gone: make(chan struct{}), room: make(chan struct{}, 1)}
	nc, err := t.dial(ctx, "sender", func(o *natsgo.Options) {
		o.ClosedCB = func(nc *natsgo.Conn) { s.end(lostBecause(nc.LastError())) }
		o.AsyncErrorCB = func(_ *natsgo.Conn, _ *natsgo.Subscription, err error) { s.trouble(err) }
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.nc = nc
	s.mu.Unlock()
	s.prefix = nc.NewInbox() + "."
	s.enc = newEncoder(t, int(nc.MaxPayload()))
	s.reply = append(make([]byte, 0, len(s.prefix)+20), s.prefix...)
	if err := s.begin(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return s, nil
}

// begin listens for confirms.
func (s *sender) begin(ctx context.Context) error {
	sub, err := s.nc.Subscribe(s.prefix+"*", s.confirmed)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1) // confirms that are dropped would break the pipe
	}
	if err != nil {
		return classify(err)
	}
	if err := s.t.declareOptions(ctx); err != nil {
		return err
	}
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errTransportClosed
	}
	t.senders[s] = struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = true
	s.watchdog = time.AfterFunc(t.o.AckTimeout/2, s.watch)
	return nil
}

// lostBecause is the end of a connection that nobody here closed.
func lostBecause(err error) error {
	if err == nil {
		return fmt.Errorf("%w: the connection was lost; open another sender", bus.ErrUnavailable)
	}
	return fmt.Errorf("%w: the connection was lost: %w; open another sender", bus.ErrUnavailable, err)
}

// Send implements bus.Sender. It blocks while 8,192 messages or 32 MB have no confirm; when ctx ends meanwhile, what was
// not handed over fails with bus.ErrUnavailable.
func (s *sender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	p := driver.NewBatch("nats", &s.mu, len(batch))
	for i := range batch {
		if err := s.hand(ctx, p, i, &batch[i]); err != nil {
			s.mu.Lock()
			p.Settle(i, fmt.Errorf("nats: send to %s: %w", driver.Quote(batch[i].Topic), err))
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Handed()
	return p
}

// hand gives one envelope to the connection, or says why not. What it has handed over gets its answer elsewhere.
func (s *sender) hand(ctx context.Context, p *driver.Batch, i int, o *bus.Outgoing) error {
	if err := s.ended(); err != nil {
		return err
	}
	key := ""
	if o.Envelope != nil {
		key = o.Key
	}
	if _, failed := s.failed[key]; failed {
		return fmt.Errorf("%w; open another sender", bus.ErrBehindFailed)
	}
	msg, r, size, err := s.enc.encode(ctx, o)
	if err == nil {
		var n uint64
		if n, err = s.enter(ctx, slot{p, i, r}, size); err == nil {
			s.reply = strconv.AppendUint(s.reply[:len(s.prefix)], n, 10)
			msg.Reply = string(s.reply)
			perr := s.nc.PublishMsg(msg)
			if perr == nil {
				return nil
			}
			if !illegal(perr) {
				s.end(lostBecause(perr)) // which answers this one as well
				return nil
			}
			s.mu.Lock()
			s.window.Take(n) // nothing of it was written
			s.mu.Unlock()
			err = fmt.Errorf("%w: %w", bus.ErrRefused, perr)
		}
	}
	if ctx.Err() != nil && !errors.Is(err, bus.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	}
	if key != "" && !(o.MayMiss && errors.Is(err, bus.ErrUnroutable)) {
		if s.failed == nil {
			s.failed = make(map[string]struct{})
		}
		s.failed[key] = struct{}{}
	}
	return err
}

// illegal reports whether the client refused a message before it wrote anything. The checks before should leave nothing
// of that.
func illegal(err error) bool {
	return errors.Is(err, natsgo.ErrBadHeaderMsg) || errors.Is(err, natsgo.ErrBadSubject) || errors.Is(err, natsgo.ErrMaxPayload) || errors.Is(err, natsgo.ErrInvalidMsg)
}

// enter waits for room in the window.
func (s *sender) enter(ctx context.Context, sl slot, size int) (n uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.cause == nil && s.window.Full(size) {
		s.waiting = true
		s.mu.Unlock()
		select {
		case <-s.room:
		case <-s.gone:
		case <-ctx.Done():
			err = fmt.Errorf("%w: the server has not confirmed %d messages yet: %w", bus.ErrUnavailable, driver.WindowSlots, ctx.Err())
		}
		s.mu.Lock()
		s.waiting = false
		if err != nil {
			return 0, err
		}
	}
	if s.cause != nil {
		return 0, s.cause
	}
	return s.window.Push(sl, size), nil
}

// confirmed takes the stream's answer to one message. It runs on a goroutine of the client.
func (s *sender) confirmed(m *natsgo.Msg) {
	n, err := strconv.ParseUint(m.Subject[len(s.prefix):], 10, 64)
	if err != nil {
		return
	}
	if err := confirmOf(m); err != nil {
		s.refused(n, err)
		return
	}
	if violates(s.nc.LastError()) {
		return // trouble is about to hear of a message that this one may be behind
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sl, ok := s.window.Take(n); ok {
		sl.p.Settle(sl.i, nil)
	}
	if s.waiting && s.window.Low() {
		s.waiting = false
		select {
		case s.room <- struct{}{}:
		default:
		}
	}
}

// refused ends the pipe because of message n, which gets its answer when nothing more is sent or confirmed here.
func (s *sender) refused(n uint64, err error) {
	s.end(fmt.Errorf("%w: the server refused a message that others were sent behind; open another sender", bus.ErrUnavailable), func() {
		sl, ok := s.window.Take(n)
		if !ok {
			return
		}
		if errors.Is(err, bus.ErrUnroutable) {
			s.t.routes.Forget(sl.r.topic)
		}
		sl.p.Settle(sl.i, fmt.Errorf("nats: send to %s: %w", driver.Quote(sl.r.topic), err))
	})
}

// trouble hears of errors that belong to no call. One about rights is all that comes of a message that must not be sent.
func (s *sender) trouble(err error) {
	if !violates(err) {
		s.t.o.Logger.Warn("nats: a sender's connection reports an error", "err", err)
		return
	}
	s.mu.Lock()
	n, found := s.window.Find(func(sl *slot) bool {
		for _, subject := range sl.r.subjects {
			if strings.Contains(err.Error(), strconv.Quote(subject)) {
				return true
			}
		}
		return false
	})
	s.mu.Unlock()
	if found {
		s.refused(n, fmt.Errorf("%w: %w", bus.ErrRefused, err))
		return
	}
	s.end(fmt.Errorf("%w: the server reports: %w", bus.ErrUnavailable, err))
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
		s.end(fmt.Errorf("%w: no confirm within %v; open another sender", bus.ErrUnavailable, s.t.o.AckTimeout))
	}
}

// ended says why the pipe has ended, or nil.
func (s *sender) ended() error {
	select {
	case <-s.gone:
	default:
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// Close implements bus.Sender. It always answers nil.
func (s *sender) Close(context.Context) error {
	s.end(errSenderClosed)
	return nil
}

// end gives the pipe up. One that was lost stays known until it is closed, so that it can answer that the transport was. A
// message that is to blame gets its own answer before all others that are in flight get theirs.
func (s *sender) end(cause error, blamed ...func()) {
	closed := errors.Is(cause, bus.ErrClosed)
	s.mu.Lock()
	first := s.cause == nil
	if first || closed {
		s.cause = cause
	}
	if first {
		close(s.gone)
		for _, answer := range blamed {
			answer()
		}
		for !s.window.Empty() {
			if sl, ok := s.window.Take(s.window.Oldest()); ok {
				sl.p.Settle(sl.i, errUnconfirmed)
			}
		}
		if s.watchdog != nil {
			s.watchdog.Stop()
		}
	}
	nc := s.nc
	s.mu.Unlock()
	if first && nc != nil {
		nc.Close()
	}
	if closed {
		s.t.mu.Lock()
		delete(s.t.senders, s)
		s.t.mu.Unlock()
	}
}
