package kafka

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold/bus"
)

var errLost = fmt.Errorf("kafka: settle: %w: it was settled, or its partition went to another member", bus.ErrLost)

// Settle implements bus.Source. What is settled is committed soon, without gaps: nil means that it will be, unless the
// process dies first; an orderly end brings it there. What is released waits here, in its place, and is handed out again.
func (s *source) Settle(_ context.Context, settlements []bus.Settlement) []error {
	errs := make([]error, len(settlements))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		for i := range errs {
			errs[i] = fmt.Errorf("kafka: settle: %w", errSourceClosed)
		}
		return errs
	}
	drained := false
	for i := range settlements {
		h := s.own(settlements[i].Delivery)
		if h == nil {
			errs[i] = errLost
			continue
		}
		f := h.f
		f.drop(h)
		if settlements[i].Release {
			f.putBack(h)
		} else {
			f.settled(h)
		}
		drained = drained || f.draining && f.held == 0
	}
	if s.ses != nil {
		signal(s.ses.dirty)
		if drained {
			signal(s.ses.drained)
		}
	}
	s.bell.Ring() // there is room below MaxInFlight
	return errs
}
