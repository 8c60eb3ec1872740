package sqs

import (
	"context"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// A lot is what one request brought. It is owned as a whole: messages of one group come in one lot, and while one of them is in
// flight SQS gives out no other of its group, so that nothing of a key is handled once an earlier one of it was lost.
type lot struct {
	s      *source
	shelf  *shelf
	until  time.Time // ours, at least
	all    []*held
	live   int
	owned  context.Context
	cancel context.CancelFunc
	timer  *time.Timer
}

// held is a message that is ours.
type held struct {
	delivery bus.Delivery
	handle   string
	lot      *lot
	live     bool // neither settled nor lost
	out      bool // handed out
}

// newLot begins the ownership of what a request brought. mu is held.
func (s *source) newLot(p *shelf, until time.Time) *lot {
	l := &lot{s: s, shelf: p, until: until}
	l.owned, l.cancel = context.WithCancel(context.Background())
	l.timer = time.AfterFunc(time.Until(until), l.expire)
	s.lots[l] = struct{}{}
	return l
}

// expire takes the lot away when its time has come.
func (l *lot) expire() {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := time.Until(l.until); left > 0 {
		l.timer.Reset(left)
		return
	}
	l.lose()
}

// lose ends what is left of the lot: it comes again. mu is held.
func (l *lot) lose() {
	for _, h := range l.all {
		if h.live {
			h.drop()
		}
	}
	l.end()
}

// drop takes one message out. mu is held.
func (h *held) drop() {
	s := h.lot.s
	h.live = false
	if h.out {
		s.held--
	} else {
		s.buffered--
	}
	if h.lot.live--; h.lot.live == 0 {
		h.lot.end()
	}
	s.bell.Ring()
	s.change.Broadcast()
}

// end stops the clock of a lot of which nothing is ours. mu is held.
func (l *lot) end() {
	l.timer.Stop()
	l.cancel()
	delete(l.s.lots, l)
}

// extended says that SQS holds the lot for us until then. mu is held.
func (l *lot) extended(until time.Time) {
	if l.live > 0 && until.After(l.until) {
		l.until = until
		l.timer.Reset(time.Until(until))
	}
}

// own answers what is held for d, or nil when it is not this source's any more. mu is held.
func (s *source) own(d *bus.Delivery) *held {
	if d == nil {
		return nil
	}
	if h, ok := d.Token.(*held); ok && h.live && h.lot.s == s && time.Now().Before(h.lot.until) {
		return h
	}
	return nil
}

// Extend implements bus.Source. Deliveries that are no longer ours answer bus.ErrLost; the others are extended, with those
// that they were received with and those that wait to be received. SQS takes no message for longer than 12 hours in all.
func (s *source) Extend(ctx context.Context, ds []*bus.Delivery) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("sqs: extend: %w", errSourceClosed)
	}
	lost := 0
	touched := make(map[*lot]struct{})
	for _, d := range ds {
		if h := s.own(d); h == nil {
			lost++
		} else {
			touched[h.lot] = struct{}{}
		}
	}
	for l := range s.lots {
		for _, h := range l.all {
			if h.live && !h.out {
				touched[l] = struct{}{}
				break
			}
		}
	}
	now := time.Now()
	var all []*held
	for l := range touched {
		if l.until.Sub(now) > s.t.o.Visibility*9/10 {
			continue // just now
		}
		for _, h := range l.all {
			if h.live {
				all = append(all, h)
			}
		}
	}
	s.mu.Unlock()
	errs := s.t.extend(ctx, all)
	s.mu.Lock()
	defer s.mu.Unlock()
	bad := make(map[*lot]error)
	for i, h := range all {
		if errs[i] != nil {
			bad[h.lot] = errs[i]
		}
	}
	var other error
	for i, h := range all {
		switch err := bad[h.lot]; {
		case err == nil:
			h.lot.extended(now.Add(s.t.o.Visibility))
		case errs[i] == nil || !h.live: // settled meanwhile, or lost with another
		case stale(errs[i]):
			lost++
			h.lot.lose()
		default:
			other = err
		}
	}
	switch {
	case lost > 0:
		return fmt.Errorf("sqs: extend: %w: %d of %d were settled, or their visibility has passed", bus.ErrLost, lost, len(ds))
	case other != nil:
		return fmt.Errorf("sqs: extend: %w", other)
	}
	return nil
}
