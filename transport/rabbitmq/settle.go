package rabbitmq

import (
	"context"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

const (
	// owedEvery is how soon what is settled behind something open is acknowledged alone, and owedAtOnce how many of that at a
	// time. RabbitMQ's quorum queues keep acknowledgements back from the 32nd on that is not on the disk, and forget those
	// when the channel is closed.
	owedEvery  = 50 * time.Millisecond
	owedAtOnce = 16
)

var errLost = fmt.Errorf("rabbitmq: settle: %w: it was settled, or the connection was lost", bus.ErrLost)

// Settle implements bus.Source. All up to the first that is not settled are acknowledged with one frame, at once; those
// behind it soon, one by one. RabbitMQ confirms no acknowledgement, so nil means that it is on its way; an orderly end
// brings it there. What is released waits here, in its place, and is handed out again.
func (s *source) Settle(_ context.Context, settlements []bus.Settlement) []error {
	errs := make([]error, len(settlements))
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		for i := range errs {
			errs[i] = fmt.Errorf("rabbitmq: settle: %w", errSourceClosed)
		}
		return errs
	}
	ses := s.ses
	any := false
	for i := range settlements {
		h := s.own(settlements[i].Delivery)
		if h == nil {
			errs[i] = errLost
			continue
		}
		h.f.drop(h)
		if settlements[i].Release {
			h.f.putBack(h)
		} else if ses != nil && h.ses == ses { // else a copy's, of which nobody else knows
			ses.tags.settle(h.tag)
			any = true
		}
	}
	var acks []ack
	owes := false
	if any {
		acks = ses.tags.raise(acks)
		if ses.tags.owed > s.prefetch()/2 { // the node must not run out of room to deliver
			acks = ses.tags.alone(ses.tags.owed, acks)
		}
		owes = ses.tags.owed > 0
	}
	s.ring() // there is room below MaxInFlight
	s.mu.Unlock()
	if owes {
		ses.wake()
	}
	if err := ses.send(acks); err != nil && s.kind != copied {
		lost(errs, settlements)
	}
	return errs
}

// send writes acknowledgements.
func (ses *session) send(acks []ack) error {
	for _, a := range acks {
		if err := ses.ch.Ack(a.tag, a.multiple); err != nil {
			ses.end(err)
			return err
		}
	}
	return nil
}

// pay acknowledges some of what is owed alone, and reports whether more is left.
func (ses *session) pay() (more bool) {
	s := ses.s
	s.mu.Lock()
	acks := ses.tags.alone(owedAtOnce, nil)
	more = ses.tags.owed > 0
	s.mu.Unlock()
	return ses.send(acks) == nil && more
}

// payAll acknowledges everything that is settled, and gives quorum queues the time to write it.
func (ses *session) payAll(ctx context.Context) {
	const rounds, each = 5, 10 * time.Millisecond // after the last
	s := ses.s
	s.mu.Lock()
	nothing := s.kind == copied || ses.tags.first == 1 && ses.tags.owed == 0
	s.mu.Unlock()
	if nothing {
		return
	}
	for round := 0; round < rounds && ctx.Err() == nil; {
		if !ses.pay() {
			round++
		}
		for _, q := range s.queues {
			if _, err := ses.hasMore(q.Name); err != nil {
				return
			}
		}
		t := time.NewTimer(each)
		select {
		case <-t.C:
		case <-ses.lost:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

// lost answers for acknowledgements that may not have been written.
func lost(errs []error, settlements []bus.Settlement) {
	for i := range errs {
		if errs[i] == nil && !settlements[i].Release {
			errs[i] = errLost
		}
	}
}
