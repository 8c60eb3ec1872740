package claimcheck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// patience bounds one Get: a store that hangs is one that does not answer.
const patience = time.Minute

// redeem takes up to max bodies of what waits out of the store, several at a time, as far as there is room for them. It
// reports whether it got any further.
func (s *source) redeem(ctx context.Context, max int) (further bool) {
	if !s.away.over() {
		return false
	}
	list := s.reserve(max)
	if len(list) == 0 {
		return false
	}
	stop := s.keepAlive(ctx)
	defer stop()
	var all sync.WaitGroup
	results := make([]result, len(list))
	room := make(chan struct{}, parallel)
	for i, t := range list {
		room <- struct{}{}
		all.Go(func() {
			defer func() { <-room }()
			results[i] = s.fetch(ctx, t)
		})
	}
	all.Wait()
	var down error
	s.mu.Lock()
	for i, t := range list {
		if down = errors.Join(down, results[i].down); results[i].down != nil || s.closed {
			s.held -= t.ref.size
			continue
		}
		s.take(t, results[i])
		further = true
	}
	s.mu.Unlock()
	if down == nil {
		s.away.end()
	} else if ctx.Err() == nil {
		s.away.begin(down)
	}
	return further
}

// reserve chooses what is redeemed now, and takes the room for it.
func (s *source) reserve(max int) (list []*ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.waiting {
		if t.out != nil {
			continue
		}
		if len(list) == max || s.held > 0 && s.held+t.ref.size > s.t.o.MaxHeld {
			break
		}
		s.held += t.ref.size
		list = append(list, t)
	}
	return list
}

// result is what the store answered: a body, or why there is none; down, that it did not answer.
type result struct {
	body      []byte
	bad, down error
}

func (s *source) fetch(ctx context.Context, t *ticket) result {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := s.t.blobs.Get(ctx, t.ref.name, t.ref.size+1)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return result{bad: fmt.Errorf("there is no blob %s; keep blobs longer than messages, and give producers and consumers the same store: %w", t.ref.name, err)}
	case err != nil:
		return result{down: err}
	}
	return result{body: body, bad: t.ref.verify(body)}
}

// take makes the delivery that is handed out. s.mu is held.
func (s *source) take(t *ticket, r result) {
	if r.bad != nil {
		s.held -= t.ref.size
		t.out = s.spoilt(t.d, r.bad)
		return
	}
	out := s.instead(t.d, t.ref.size)
	out.Headers = without(t.d.Headers)
	out.Body = r.body
	t.out = out
	if t.d.Owned != nil { // what is lost is never settled
		out.Token.(*redeemed).stop = context.AfterFunc(t.d.Owned, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.free(out)
		})
	}
}

// keepAlive extends what waits for as long as a slow store takes. The function that it answers ends it.
func (s *source) keepAlive(ctx context.Context) (stop func()) {
	every := s.t.caps.ExtendEvery
	if every <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.keepWaiting(ctx)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}
