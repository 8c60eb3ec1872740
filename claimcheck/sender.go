package claimcheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/internal/dataref"
)

// parallel bounds how many blobs of one batch are on their way to the store, or from it, at once.
const parallel = 8

// A sender stores large bodies before it hands the batch on. What it fails itself never reaches the wrapped sender, so it keeps a
// list of failed keys of its own: the prefix of a key ends where the first of the two failed it.
type sender struct {
	t  *Transport
	in bus.Sender

	mu     sync.Mutex // Close may come from another goroutine
	failed map[string]struct{}
	closed bool
}

// Send implements bus.Sender. It blocks while bodies are stored.
func (s *sender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	if s.untouched(batch) {
		return s.in.Send(ctx, batch)
	}
	refs := make([]*reference, len(batch))
	errs := make([]error, len(batch))
	s.store(ctx, batch, refs, errs)
	p := &pending{errs: errs, at: make([]int, 0, len(batch))}
	out := make([]bus.Outgoing, 0, len(batch))
	s.mu.Lock()
	for i := range batch {
		o := batch[i]
		if o.Envelope != nil {
			if _, behind := s.failed[o.Key]; behind {
				errs[i] = fmt.Errorf("claimcheck: send to %.64q: %w; open another sender", o.Topic, bus.ErrBehindFailed)
			}
			if errs[i] != nil {
				s.fail(o.Key)
				continue
			}
			if refs[i] != nil {
				o.Envelope = refs[i].in(o.Envelope, s.t.o.Base)
			}
		}
		p.at = append(p.at, i)
		out = append(out, o)
	}
	s.mu.Unlock()
	if len(out) > 0 {
		p.in = s.in.Send(ctx, out)
	}
	return p
}

// untouched reports whether the whole batch is none of our business, as nearly all are.
func (s *sender) untouched(batch []bus.Outgoing) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return true // to be told so
	}
	if len(s.failed) > 0 {
		return false
	}
	for i := range batch {
		if env := batch[i].Envelope; env != nil && (size(env) > s.t.o.Threshold || claimed(env)) {
			return false
		}
	}
	return true
}

// fail ends the prefix of a key. s.mu is held.
func (s *sender) fail(key string) {
	if key == "" {
		return
	}
	if s.failed == nil {
		s.failed = make(map[string]struct{})
	}
	s.failed[key] = struct{}{}
}

// store puts the large bodies of a batch, several at a time, and says of each envelope why it cannot go on.
func (s *sender) store(ctx context.Context, batch []bus.Outgoing, refs []*reference, errs []error) {
	var all sync.WaitGroup
	room := make(chan struct{}, parallel)
	for i := range batch {
		o := &batch[i]
		if o.Envelope == nil {
			continue
		}
		n := size(o.Envelope)
		switch {
		case claimed(o.Envelope) && len(o.Body) == 0: // a dead letter of what could not be redeemed: its claim goes on
			continue
		case claimed(o.Envelope):
			errs[i] = fmt.Errorf("claimcheck: send to %.64q: %w: header %q is Sixfold's own; choose another name", o.Topic, bus.ErrRefused, dataref.Check)
			continue
		case n > s.t.o.MaxBody:
			errs[i] = fmt.Errorf("claimcheck: send to %.64q: %w: %d bytes of body and headers, the limit is %d; send less, or raise Options.MaxBody of package claimcheck on both sides",
				o.Topic, bus.ErrTooLarge, n, s.t.o.MaxBody)
			continue
		case n <= s.t.o.Threshold || len(o.Body) == 0:
			continue
		}
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			refs[i], errs[i] = s.put(ctx, o)
		})
	}
	all.Wait()
}

func (s *sender) put(ctx context.Context, o *bus.Outgoing) (*reference, error) {
	r := refer(o.Body, time.Now())
	err := s.t.blobs.Put(ctx, r.name, o.Body)
	switch {
	case err == nil:
		return &r, nil
	case errors.Is(err, bus.ErrTooLarge), errors.Is(err, bus.ErrRefused):
		return nil, fmt.Errorf("claimcheck: send to %.64q: store the body: %w", o.Topic, err)
	}
	return nil, fmt.Errorf("claimcheck: send to %.64q: %w: the blob store did not take the body; see that it answers and has room: %w", o.Topic, bus.ErrUnavailable, err)
}

// Close implements bus.Sender.
func (s *sender) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	return s.in.Close(ctx)
}

// pending puts the answers of the wrapped sender between our own.
type pending struct {
	errs []error // our own
	at   []int   // where the answers of in belong
	in   bus.Pending
}

// Wait implements bus.Pending.
func (p *pending) Wait(ctx context.Context) []error {
	out := make([]error, len(p.errs))
	copy(out, p.errs)
	if p.in == nil {
		return out
	}
	answers := p.in.Wait(ctx)
	for n, i := range p.at {
		out[i] = errShort
		if n < len(answers) {
			out[i] = answers[n]
		}
	}
	return out
}

var errShort = fmt.Errorf("claimcheck: send: %w: the driver answered fewer results than it was handed envelopes; run bustest on it", bus.ErrUnavailable)
