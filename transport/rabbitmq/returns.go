package rabbitmq

import (
	"errors"
	"fmt"
	"strconv"
	"sync"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// errNoQueue is a message that no queue got.
var errNoQueue = fmt.Errorf("%w: no queue is bound for it; subscribe a group, or bind a queue", bus.ErrUnroutable)

// listen takes confirms and returns until the channel is over. The client hands the return of a message over before its
// confirm, so whatever was returned is known when a confirm has come.
func (s *sender) listen() {
	defer close(s.done)
	var ending sync.WaitGroup
	defer ending.Wait()
	for c := range s.confirms {
		s.mu.Lock()
		ended := false
		for more := true; more && !ended; {
			s.takeReturns()
			ended = s.confirmed(c)
			select {
			case c, more = <-s.confirms:
			default:
				more = false
			}
		}
		s.wake()
		s.mu.Unlock()
		if ended {
			ending.Go(func() { s.hangUp(false) }) // which waits for the client, and that for us to take what it still has
		}
	}
	s.over()
}

// takeReturns marks what was returned. mu is held.
func (s *sender) takeReturns() {
	for {
		select {
		case r, ok := <-s.returns:
			if !ok {
				return
			}
			s.takeReturn(&r)
		default:
			return
		}
	}
}

// takeReturn finds the message that was returned. Returns come in the order of the messages. Where another one of the same id
// and topic is in flight, one of them may have been routed: whichever has no return of its own is then in doubt.
func (s *sender) takeReturn(r *amqp.Return) {
	found := false
	for _, sl := range s.window.All() {
		if sl.returned || sl.topic != r.Exchange || sl.id != r.MessageId {
			continue
		}
		if found {
			sl.doubt = true
			continue
		}
		found, sl.returned, sl.doubt = true, true, false
	}
	if !found {
		s.t.o.Logger.Warn("rabbitmq: a message was returned that is not in flight", "topic", r.Exchange, "reason", r.ReplyText)
	}
}

// confirmed answers one message. It reports whether that has ended the pipe, which it does before the answer: nothing may
// be taken behind a message that has failed. mu is held.
func (s *sender) confirmed(c amqp.Confirmation) (ended bool) {
	sl, ok := s.window.Take(c.DeliveryTag)
	if !ok {
		return false
	}
	if u := s.unsure[sl.key]; sl.unproven && u != nil {
		if u.n--; u.n == 0 {
			delete(s.unsure, sl.key)
		}
	}
	switch {
	case !c.Ack:
		ended = s.stop(fmt.Errorf("%w: the node refused a message that others were sent behind; open another sender", bus.ErrUnavailable))
		sl.p.Settle(sl.i, fmt.Errorf("rabbitmq: send to %s: %w: the node has not taken it (a queue is full or out of service)", driver.Quote(sl.topic), bus.ErrUnavailable))
	case sl.returned:
		s.unroutable(sl)
	case sl.doubt:
		ended = s.stop(fmt.Errorf("%w: a message was returned, and two of its id were in flight; open another sender", bus.ErrUnavailable))
		sl.p.Settle(sl.i, errUnconfirmed)
	default:
		if sl.unproven {
			s.proven[sl.topic] = struct{}{}
		}
		sl.p.Settle(sl.i, nil)
	}
	return ended
}

// unroutable fails a message that was returned, and its key. The topic has to prove itself again.
func (s *sender) unroutable(sl slot) {
	delete(s.proven, sl.topic)
	err := errNoQueue
	if sl.key != "" && !sl.mayMiss {
		if _, failed := s.failed[sl.key]; failed {
			err = fmt.Errorf("%w; open another sender", bus.ErrBehindFailed)
		}
		s.failed[sl.key] = struct{}{}
	}
	sl.p.Settle(sl.i, fmt.Errorf("rabbitmq: send to %s: %w", driver.Quote(sl.topic), err))
}

// wake lets Send look again. mu is held.
func (s *sender) wake() {
	if s.waiting == forNothing || s.waiting == forRoom && !s.window.Low() {
		return
	}
	s.waiting = forNothing
	select {
	case s.room <- struct{}{}:
	default:
	}
}

// over ends the pipe when the channel is over. Where the node says which message was to blame, that one gets the reason; to
// the others it is an outage.
func (s *sender) over() {
	var err error
	if e := <-s.closes; e != nil {
		err = e
	}
	var blamed slot
	var verdict error
	if codeOf(err) != 0 {
		s.mu.Lock()
		blamed, verdict = s.blame(err)
		s.mu.Unlock()
	}
	if verdict == nil {
		s.end(lostBecause(err))
		return
	}
	s.end(lostBecause(err), func() { // when nothing more is sent here
		blamed.p.Settle(blamed.i, fmt.Errorf("rabbitmq: send to %s: %w", driver.Quote(blamed.topic), verdict))
	})
}

// blame takes out the oldest message that the node's reason fits, and answers what to say of it; nil: there is none. mu is
// held.
func (s *sender) blame(err error) (blamed slot, verdict error) {
	verdict = classify(err)
	var fits func(sl *slot) bool
	text := err.Error()
	if m := blamedSize.FindStringSubmatch(text); m != nil {
		verdict = fmt.Errorf("%w: %w; lower MaxBody to the node's max_message_size", bus.ErrTooLarge, err)
		size, _ := strconv.Atoi(m[1]) // digits
		fits = func(sl *slot) bool { return sl.size >= size }
	} else if m := blamedExchange.FindStringSubmatch(text); m != nil {
		fits = func(sl *slot) bool { return sl.topic == m[1] }
		s.t.routes.Forget(m[1])
	}
	if fits == nil || errors.Is(verdict, bus.ErrUnavailable) {
		return slot{}, nil
	}
	n, ok := s.window.Find(fits)
	if !ok {
		return slot{}, nil
	}
	blamed, _ = s.window.Take(n)
	return blamed, verdict
}
