package kafka

import (
	"context"
	"errors"

	"github.com/sixfold-go/sixfold/bus"
)

// confirmed answers for a batch that the broker has taken. mu is held.
func (s *sender) confirmed(b *batch) {
	for i := range b.slots {
		s.settle(b, i, nil)
	}
	delete(s.live, b)
}

// drop answers for everything that has no answer yet. mu is held.
func (s *sender) drop() {
	for b := range s.live {
		for i := range b.slots {
			s.settle(b, i, errUnconfirmed)
		}
	}
	clear(s.live)
}

// settle gives one message its answer, once. mu is held.
func (s *sender) settle(b *batch, i int, err error) {
	sl := &b.slots[i]
	if sl.p == nil {
		return
	}
	sl.p.Settle(sl.i, err)
	s.inFlight--
	s.bytes -= sl.size
	sl.p = nil
}

// freed wakes who waits for room. mu is held.
func (s *sender) freed() {
	if s.waiting && (s.inFlight <= mostMessages*3/4 && s.bytes <= mostBytes*3/4) {
		signal(s.room)
	}
}

// Close implements bus.Sender. It always answers nil.
func (s *sender) Close(ctx context.Context) error {
	s.end(errSenderClosed)
	select {
	case <-s.done:
	case <-ctx.Done():
	}
	return nil
}

// end gives the pipe up: its connections are closed, and none is made any more. One that was lost stays known until it is
// closed, so that it can answer that the transport was.
func (s *sender) end(cause error) {
	closed := errors.Is(cause, bus.ErrClosed)
	s.mu.Lock()
	first := s.cause == nil
	if first || closed {
		s.cause = cause
	}
	if first {
		close(s.gone)
		s.drop()
	}
	s.mu.Unlock()
	if first {
		s.guard.abort()
		s.stop()
		go func() {
			defer close(s.done)
			s.cl.Close()
			s.wg.Wait()
		}()
	}
	if closed {
		s.t.mu.Lock()
		delete(s.t.senders, s)
		s.t.mu.Unlock()
	}
}
