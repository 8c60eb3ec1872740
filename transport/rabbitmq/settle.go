package rabbitmq

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold/bus"
)

var errLost = fmt.Errorf("rabbitmq: settle: %w: it was settled, or the connection was lost", bus.ErrLost)

// Settle implements bus.Source. All up to the first that is not settled are acknowledged with one frame, later ones one
// by one. RabbitMQ confirms no acknowledgement: nil means that it was written, and an orderly end brings it there. What is
// released waits here, in its place, and is handed out again.
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
	var done []uint64
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
			done = append(done, h.tag)
		}
	}
	var acks []ack
	if len(done) > 0 {
		acks = ses.tags.acks(done, make([]ack, 0, len(done)))
	}
	s.ring() // there is room below MaxInFlight
	s.mu.Unlock()
	for _, a := range acks {
		if err := ses.ch.Ack(a.tag, a.multiple); err != nil {
			ses.end(err)
			if s.kind != copied {
				lost(errs, settlements)
			}
			break
		}
	}
	return errs
}

// lost answers for acknowledgements that may not have been written.
func lost(errs []error, settlements []bus.Settlement) {
	for i := range errs {
		if errs[i] == nil && !settlements[i].Release {
			errs[i] = errLost
		}
	}
}
