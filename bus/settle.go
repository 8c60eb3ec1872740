package bus

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// lingerFor bounds how long a settlement waits for company while many come.
	lingerFor = time.Millisecond
	// lingerBelow is the number of settlements that do not wait.
	lingerBelow = 128
)

var errNoAnswer = errors.New("bus: the driver gave no answer")

// order asks for one settlement.
type order struct {
	it      *item
	release bool
	first   bool // an acknowledgement on receipt: the handler runs when it has succeeded
}

// settler is the goroutine that settles and extends deliveries, many with one call. Nothing is dropped before the
// source has answered; what the source cannot do now is repeated.
type settler struct {
	r      *run
	ctx    context.Context
	cancel context.CancelFunc

	wake, full chan struct{} // at most one token each
	closing    chan struct{}
	done       chan struct{}

	mu    sync.Mutex
	queue []order
	spare []order
	acks  int           // asked for and not answered
	busy  chan struct{} // closed when acknowledgements on receipt that are with the source have their answer; or nil

	// Only the goroutine's own:
	again    []order // to be repeated
	tries    int
	repeat   *time.Timer
	settling []Settlement
	freed    []*item
	last     time.Time
	trouble  outage
	losing   outage
}

func newSettler(r *run) *settler {
	s := &settler{r: r, wake: make(chan struct{}, 1), full: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{}),
		trouble: outage{c: r.c, what: "cannot settle, trying again", over: "settling again"},
		losing:  outage{c: r.c, what: "cannot keep deliveries while their handlers run; they may be delivered again", over: "deliveries are kept again"}}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(r.handlers))
	return s
}

func (s *settler) push(o order) {
	s.mu.Lock()
	s.queue = append(s.queue, o)
	if !o.release {
		s.acks++
	}
	n := len(s.queue)
	s.mu.Unlock()
	switch n {
	case 1:
		token(s.wake)
	case lingerBelow:
		token(s.full)
	}
}

func token(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// loop settles until finish was called and everything is settled, or ctx ends.
func (s *settler) loop() {
	defer close(s.done)
	var tick <-chan time.Time
	if every := s.r.c.caps.ExtendEvery; every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		tick = t.C
	}
	s.repeat = time.NewTimer(time.Hour)
	defer s.repeat.Stop()
	closing := s.closing
	for {
		select {
		case <-s.wake:
			if closing != nil {
				s.linger()
			}
			s.flush(false)
		case <-tick:
			s.extend()
		case <-s.repeat.C:
			s.flush(true)
		case <-closing:
			closing = nil
			s.flush(true)
		case <-s.ctx.Done():
			return
		}
		if closing == nil && s.empty() {
			return
		}
	}
}

func (s *settler) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) == 0 && len(s.again) == 0
}

// linger lets settlements gather, if the last ones were only just settled, there are few, and more can come.
func (s *settler) linger() {
	wait := lingerFor - now().Sub(s.last)
	if wait <= 0 {
		return
	}
	select {
	case <-s.full: // of an earlier gathering
	default:
	}
	s.mu.Lock()
	n := len(s.queue)
	s.mu.Unlock()
	if n >= lingerBelow || n+len(s.again) >= s.r.flight.count() {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.full:
	case <-s.closing:
	case <-s.ctx.Done():
	}
}

// flush settles what is asked for, and with repeat also what failed before, in front of it.
func (s *settler) flush(repeat bool) {
	s.mu.Lock()
	batch := s.queue
	s.queue = s.spare[:0]
	s.spare = nil
	for _, o := range batch {
		if o.first {
			s.busy = make(chan struct{})
			break
		}
	}
	s.mu.Unlock()
	if repeat {
		batch = append(s.again, batch...)
		s.again = nil
	}
	if len(batch) > 0 {
		s.settle(batch)
	}
	clear(batch)
	s.mu.Lock()
	s.spare = batch[:0]
	if s.busy != nil {
		close(s.busy)
		s.busy = nil
	}
	s.mu.Unlock()
}

func (s *settler) settle(batch []order) {
	for _, o := range batch {
		s.settling = append(s.settling, Settlement{Delivery: o.it.d, Release: o.release})
	}
	errs := s.r.src.Settle(s.ctx, s.settling)
	clear(s.settling)
	s.settling = s.settling[:0]
	for len(errs) < len(batch) {
		errs = append(errs, errNoAnswer)
	}
	var received []*item
	var failed error
	acks := 0
	for i, o := range batch {
		err := errs[i]
		switch {
		case err == nil && o.first:
			received = append(received, o.it)
		case err == nil, errors.Is(err, ErrLost), errors.Is(err, ErrClosed), errors.Is(err, ErrRefused):
			s.freed = append(s.freed, o.it)
			if errors.Is(err, ErrClosed) && !o.release {
				s.r.doubt.Add(1)
			}
			if errors.Is(err, ErrRefused) {
				s.r.c.noteError(err)
				s.r.c.log.Error("bus: the broker refused to settle a message; it may come again", "consumer", s.r.c.s.Group, "message", &o.it.d.Envelope, "error", err)
			}
		default:
			failed = err
			if o.first { // it was not received, then
				s.again = append(s.again, order{it: o.it, release: true})
				break
			}
			s.again = append(s.again, o)
			continue
		}
		if !o.release {
			acks++
		}
	}
	s.last = now()
	s.r.flight.remove(s.freed...)
	clear(s.freed)
	s.freed = s.freed[:0]
	s.mu.Lock()
	s.acks -= acks
	s.mu.Unlock()
	s.r.acknowledged(received)
	if failed != nil && s.ctx.Err() == nil {
		s.trouble.begin(failed)
		s.tries++
		s.repeat.Reset(passing(s.tries))
	} else if failed == nil {
		s.trouble.end()
		s.tries = 0
	}
}

// extend keeps everything that is not settled.
func (s *settler) extend() {
	ds := s.r.flight.deliveries()
	if len(ds) == 0 {
		return
	}
	if err := s.r.src.Extend(s.ctx, ds); err == nil || errors.Is(err, ErrLost) {
		s.losing.end()
	} else if s.ctx.Err() == nil {
		s.losing.begin(err)
	}
}

// recall turns the acknowledgements on receipt that have not begun into releases and waits, as long as ctx lasts, for
// those that have. Nothing is received any more.
func (s *settler) recall(ctx context.Context) {
	s.mu.Lock()
	for i := range s.queue {
		if o := &s.queue[i]; o.first {
			o.first, o.release = false, true
			s.acks--
		}
	}
	busy := s.busy
	s.mu.Unlock()
	if busy == nil {
		return
	}
	select {
	case <-busy:
	case <-ctx.Done():
	}
}

// finish settles the rest while ctx lasts, ends the goroutine, and answers how many acknowledgements have no answer.
func (s *settler) finish(ctx context.Context) int {
	close(s.closing)
	select {
	case <-s.done:
	case <-ctx.Done():
		s.cancel()
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-s.done:
		case <-t.C:
		}
	}
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acks
}
