package rabbitmq

import (
	"context"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

const (
	// floorEvery is how soon all up to the floor are acknowledged again: each acknowledgement is an entry in the log of a quorum
	// queue, and a consumer that keeps up would send one for every few messages.
	floorEvery = 2 * time.Millisecond
	// owedEvery is how soon what is settled behind something open is acknowledged alone, and owedAtOnce how many of that at a
	// time. RabbitMQ's quorum queues keep acknowledgements back from the 32nd on that is not on the disk, and forget those
	// when the channel is closed.
	owedEvery  = 50 * time.Millisecond
	owedAtOnce = 16
)

var errLost = fmt.Errorf("rabbitmq: settle: %w: it was settled, or the connection was lost", bus.ErrLost)

// Settle implements bus.Source. All up to the first that is not settled are acknowledged with one frame, at once or
// with those of the next two milliseconds; those behind it soon, one by one. RabbitMQ confirms no acknowledgement, so nil
// means that it is on its way; an orderly end brings it there. What is released waits here, in its place, and is handed
// out again.
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
	owed, due := 0, false
	if any {
		owed = ses.tags.owed
		due = owed >= s.prefetch()/4 || time.Since(ses.acked) >= floorEvery // the node must not run out of room to deliver
	}
	s.bell.Ring() // there is room below MaxInFlight
	s.mu.Unlock()
	var err error
	if due {
		err = ses.acknowledge(func(t *tags, acks []ack) []ack {
			acks = t.raise(acks)
			if t.owed > s.prefetch()/2 {
				acks = t.alone(t.owed, acks)
			}
			owed = t.owed
			return acks
		})
	}
	if owed > 0 {
		ses.wake()
	}
	if err != nil && s.kind != copied {
		lost(errs, settlements)
	}
	return errs
}

// acknowledge writes what choose appends. Nobody else does at that time: the node closes the channel for an acknowledgement
// that comes behind one which includes it.
func (ses *session) acknowledge(choose func(t *tags, acks []ack) []ack) error {
	ses.acking.Lock()
	defer ses.acking.Unlock()
	ses.s.mu.Lock()
	acks := choose(&ses.tags, nil)
	ses.acked = time.Now()
	ses.s.mu.Unlock()
	for _, a := range acks {
		if err := ses.ack(a.tag, a.multiple); err != nil {
			ses.end(err)
			return err
		}
	}
	return nil
}

// pay acknowledges all up to the floor and some of what is owed alone, and reports whether more is left.
func (ses *session) pay() (more bool) {
	err := ses.acknowledge(func(t *tags, acks []ack) []ack {
		acks = t.alone(owedAtOnce, t.raise(acks))
		more = t.owed > 0
		return acks
	})
	return err == nil && more
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
