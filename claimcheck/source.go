package claimcheck

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// A source takes bodies out of the store before it hands deliveries out. What waits for a body holds up the later ones of its key,
// and nobody else.
type source struct {
	t    *Transport
	in   bus.Source
	one  sync.Mutex // Settle and Extend of in: one call at a time
	away *outage

	mu      sync.Mutex // guards what follows
	waiting []*ticket  // in the order of their arrival
	held    int        // bytes of bodies that were taken out and are not settled
	kept    time.Time  // when what waits was extended, or came
	wake    func()     // interrupts a Receive that waits for room
	closed  bool
}

func newSource(t *Transport, in bus.Source) *source {
	return &source{t: t, in: in, away: &outage{log: t.o.Logger}}
}

// A ticket is a delivery that was not handed out yet.
type ticket struct {
	d   *bus.Delivery
	ref *reference    // nil: there is nothing to redeem
	out *bus.Delivery // what is handed out, once it is known
}

// redeemed is the token of a delivery whose body was taken out. The wrapped source knows the delivery behind it only.
type redeemed struct {
	behind *bus.Delivery
	src    *source
	size   int
	stop   func() bool // stops listening for the loss of the delivery
	freed  bool        // under src.mu
}

// Receive implements bus.Source. It blocks while the store cannot be reached and nothing but bodies out of it is left.
func (s *source) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	if max < 1 {
		return s.in.Receive(ctx, max)
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("claimcheck: receive: %w", err)
		}
		out, rest := s.ready(max)
		if len(out) > 0 {
			return out, nil
		}
		if rest > 0 {
			s.keepInTime(ctx)
			if s.redeem(ctx, max) {
				continue
			}
			if err := s.meanwhile(ctx, max); err != nil {
				return nil, err
			}
			continue
		}
		ds, err := s.in.Receive(ctx, max)
		if err != nil || !s.add(ds) {
			return ds, err
		}
	}
}

// add keeps deliveries, unless there is nothing to do about any of them.
func (s *source) add(ds []*bus.Delivery) bool {
	work := false
	for _, d := range ds {
		work = work || d.Damaged == nil && claimed(&d.Envelope)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !work && len(s.waiting) == 0 {
		return false
	}
	if len(s.waiting) == 0 {
		s.kept = time.Now()
	}
	for _, d := range ds {
		t := &ticket{d: d, out: d}
		if d.Damaged == nil && claimed(&d.Envelope) {
			t.out = nil
			var err error
			if t.ref, err = read(&d.Envelope, s.t.o.Base, s.t.o.MaxBody); err != nil {
				t.out, t.ref = s.spoilt(d, err), nil
			}
		}
		s.waiting = append(s.waiting, t)
	}
	return true
}

// spoilt is a delivery whose body cannot be had.
func (s *source) spoilt(d *bus.Delivery, err error) *bus.Delivery {
	out := s.instead(d, 0)
	out.Damaged = fmt.Errorf("claimcheck: receive: %w", err)
	return out
}

// instead is what is handed out for a delivery, which itself stays as the wrapped source made it: it may deliver it again.
func (s *source) instead(d *bus.Delivery, size int) *bus.Delivery {
	out := *d
	out.Token = &redeemed{behind: d, src: s, size: size}
	if d.Claims != nil {
		out.Claims = claims{d.Claims}
	}
	return &out
}

// ready takes out what can be handed out: in order, nothing past an earlier one of its key. rest is how many stay.
func (s *source) ready(max int) (out []*bus.Delivery, rest int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return nil, 0
	}
	var behind map[string]bool
	keep := s.waiting[:0]
	for _, t := range s.waiting {
		switch {
		case t.d.Owned != nil && t.d.Owned.Err() != nil: // somebody else's now
			s.free(t.out)
			continue
		case t.out != nil && len(out) < max && !behind[t.d.Key]:
			out = append(out, t.out)
			continue
		case t.d.Key != "":
			if behind == nil {
				behind = make(map[string]bool)
			}
			behind[t.d.Key] = true
		}
		keep = append(keep, t)
	}
	clear(s.waiting[len(keep):])
	s.waiting = keep
	return out, len(keep)
}

// meanwhile receives others while the store is away or there is no room for more bodies, until either is worth another look.
func (s *source) meanwhile(ctx context.Context, max int) error {
	wait := s.away.wait()
	if every := s.t.caps.ExtendEvery; every > 0 {
		wait = min(wait, every/2)
	}
	look, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	s.mu.Lock()
	s.wake = cancel
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.wake = nil
		s.mu.Unlock()
	}()
	ds, err := s.in.Receive(look, max)
	if len(ds) > 0 {
		s.add(ds)
	}
	if err != nil && look.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// Settle implements bus.Source.
func (s *source) Settle(ctx context.Context, settlements []bus.Settlement) []error {
	list := make([]bus.Settlement, len(settlements))
	s.mu.Lock()
	for i, x := range settlements {
		list[i] = x
		if x.Delivery == nil {
			continue
		}
		if r, ok := x.Token.(*redeemed); ok && r.src == s {
			r.behind.Claimed = x.Claimed
			list[i].Delivery = r.behind
			s.free(x.Delivery)
		}
	}
	s.mu.Unlock()
	s.one.Lock()
	defer s.one.Unlock()
	return s.in.Settle(ctx, list)
}

// Extend implements bus.Source. It keeps what still waits for a body too.
func (s *source) Extend(ctx context.Context, ds []*bus.Delivery) error {
	s.keepWaiting(ctx)
	list := make([]*bus.Delivery, len(ds))
	for i, d := range ds {
		list[i] = behind(d)
	}
	s.one.Lock()
	defer s.one.Unlock()
	return s.in.Extend(ctx, list)
}

// keepInTime is keepWaiting, as often as it must be. The consumer extends only when it has something itself.
func (s *source) keepInTime(ctx context.Context) {
	s.mu.Lock()
	due := s.t.caps.ExtendEvery > 0 && time.Since(s.kept) >= s.t.caps.ExtendEvery/2
	s.mu.Unlock()
	if due {
		s.keepWaiting(ctx)
	}
}

// keepWaiting extends what nobody was handed yet. That it fails is seen by the deliveries' contexts.
func (s *source) keepWaiting(ctx context.Context) {
	s.mu.Lock()
	s.kept = time.Now()
	list := make([]*bus.Delivery, len(s.waiting))
	for i, t := range s.waiting {
		list[i] = t.d
	}
	s.mu.Unlock()
	if len(list) == 0 {
		return
	}
	s.one.Lock()
	defer s.one.Unlock()
	_ = s.in.Extend(ctx, list)
}

// Close implements bus.Source. What was not handed out goes back with the rest.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for _, t := range s.waiting {
		s.free(t.out)
	}
	s.waiting = nil
	s.mu.Unlock()
	return s.in.Close(ctx)
}

// behind is the delivery that the wrapped source knows.
func behind(d *bus.Delivery) *bus.Delivery {
	if d != nil {
		if r, ok := d.Token.(*redeemed); ok {
			return r.behind
		}
	}
	return d
}

// free gives the room of a body back. s.mu is held.
func (s *source) free(d *bus.Delivery) {
	if d == nil {
		return
	}
	r, ok := d.Token.(*redeemed)
	if !ok || r.src != s || r.freed {
		return
	}
	r.freed = true
	if r.stop != nil {
		r.stop()
	}
	s.held -= r.size
	if s.wake != nil {
		s.wake()
	}
}

// claims lets the wrapped source's database take part for a delivery that is a copy.
type claims struct{ in bus.Claims }

// Claim implements bus.Claims.
func (c claims) Claim(ctx context.Context, tx sqltx.Tx, ds []*bus.Delivery) ([]bus.Found, error) {
	list := make([]*bus.Delivery, len(ds))
	for i, d := range ds {
		list[i] = behind(d)
	}
	return c.in.Claim(ctx, tx, list)
}
