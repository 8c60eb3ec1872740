package bus

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// parkedRows is how many messages of a line are in hand at once.
	parkedRows = 50
	// countEvery is the time between two counts of all that is parked, while something is.
	countEvery = 5 * time.Second
)

// claim is a ParkedLine in hand. Its items are in one lane, in their order.
type claim struct {
	p     *ParkedLine
	until time.Time // others may take it over
	end   context.CancelFunc
	left  int  // items that are not handled
	over  bool // no item of it runs any more
}

// parker brings what is parked back to the lanes when it is due, as a second source of a run. Its goroutine claims, keeps
// and gives back lines; lanes tell it what became of their items.
type parker struct {
	r       *run
	parking Parking
	most    int           // lines in hand
	wake    chan struct{} // at most one token
	stop    chan struct{} // closed by halt
	done    chan struct{}
	waiting atomic.Int64 // messages in all lines, as last counted

	handing sync.Mutex // held while lanes are given messages
	halted  bool       // they take none any more

	mu     sync.Mutex
	claims map[*claim]struct{} // in hand
	back   []*claim            // over, to be given back
	due    time.Time           // when to look, if that is earlier than the poll; zero: not known

	// Only the goroutine's own:
	counted time.Time
	down    outage
	full    outage
}

func newParker(r *run, p Parking) *parker {
	return &parker{r: r, parking: p, most: min(max(2*r.c.o.Concurrency, 32), 256), wake: make(chan struct{}, 1), stop: make(chan struct{}),
		done: make(chan struct{}), claims: make(map[*claim]struct{}),
		down: outage{c: r.c, what: "cannot look for parked messages, trying again", over: "parked messages are looked for again"},
		full: outage{c: r.c, what: "so many failed messages wait that no more are received; redrive or discard what holds them back", over: "receiving again, since fewer failed messages wait"},
	}
}

// loop works until stop is closed and no line is in hand, or ctx ends.
func (p *parker) loop(ctx context.Context) {
	defer close(p.done)
	keep := time.NewTicker(p.r.c.o.ParkingLease / 3)
	defer keep.Stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	stop := p.stop
	for failed := 0; ; {
		tend := false
		select {
		case <-ctx.Done():
			return
		case <-stop:
			stop = nil
		case <-p.wake:
		case <-keep.C:
			tend = true
		case <-timer.C:
		}
		err := p.tend(ctx, tend)
		next := p.r.c.o.ParkingPoll
		if err == nil && stop != nil {
			next, err = p.look(ctx)
		}
		if err != nil && ctx.Err() == nil {
			failed++
			p.down.begin(err)
			next = passing(failed)
		} else {
			failed = 0
			p.down.end()
		}
		if stop == nil && p.empty() {
			return
		}
		timer.Reset(next)
	}
}

func (p *parker) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.claims) == 0 && len(p.back) == 0
}

// look takes lines over, as far as there is room, and answers when to look again.
func (p *parker) look(ctx context.Context) (time.Duration, error) {
	poll := p.r.c.o.ParkingPoll
	if p.r.c.paused() {
		return poll, nil
	}
	p.mu.Lock()
	room := p.most - len(p.claims)
	if wait := time.Until(p.due); !p.due.IsZero() && wait > 0 {
		poll = min(poll, wait)
	} else {
		p.due = time.Time{}
	}
	p.mu.Unlock()
	if room < p.most/2 { // a few at a time would cost as many statements
		return poll, nil
	}
	begun := now()
	count := begun.Sub(p.counted) >= countEvery
	work, err := p.parking.Claim(ctx, p.r.c.s.Group, ParkedAsk{Lines: room, Rows: parkedRows, Hold: p.r.c.o.ParkingLease, Count: count})
	if err != nil {
		return 0, err
	}
	if count {
		p.note(work.Waiting)
		p.counted = begun
	}
	for _, pl := range work.Lines {
		p.take(pl, begun)
	}
	switch {
	case len(work.Lines) == room:
		return 0, nil
	case work.Next >= 0:
		return min(poll, max(work.Next, time.Millisecond)), nil
	}
	return poll, nil
}

// note puts down how many messages wait.
func (p *parker) note(waiting int) {
	p.waiting.Store(int64(waiting))
	if waiting >= p.r.c.o.MaxParked {
		p.full.begin(ErrParkingFull)
	} else {
		p.full.end()
	}
}

// crowded reports whether no more may be received.
func (p *parker) crowded() bool { return p != nil && p.full.begun.Load() }

// take hands the messages of a claimed line to their lane.
func (p *parker) take(pl *ParkedLine, begun time.Time) {
	p.handing.Lock()
	defer p.handing.Unlock()
	if len(pl.Deliveries) == 0 || p.halted {
		p.mu.Lock()
		p.back = append(p.back, &claim{p: pl, over: true})
		p.mu.Unlock()
		token(p.wake)
		return
	}
	owned, end := context.WithCancel(p.r.handlers)
	c := &claim{p: pl, until: begun.Add(p.r.c.o.ParkingLease), end: end, left: len(pl.Deliveries)}
	items := make([]*item, len(pl.Deliveries))
	for i, d := range pl.Deliveries {
		d.Owned = owned
		items[i] = &item{d: d, claim: c, attempts: d.Attempts}
	}
	items[0].attempts = pl.Attempts
	items[0].crashed = pl.Suspect
	p.mu.Lock()
	p.claims[c] = struct{}{}
	p.mu.Unlock()
	if key := items[0].d.Key; key != "" {
		p.r.lanes[p.r.laneOf(key)].push(items)
	} else {
		p.r.spread(items)
	}
}

// tend gives back what is over and, with keep, keeps what is in hand.
func (p *parker) tend(ctx context.Context, keep bool) error {
	p.mu.Lock()
	back := p.back
	p.back = nil
	var mine []*claim
	if keep {
		for c := range p.claims {
			mine = append(mine, c)
		}
	}
	p.mu.Unlock()
	if len(back) == 0 && len(mine) == 0 {
		return nil
	}
	begun := now()
	ours, err := p.parking.Tend(ctx, parkedLines(mine), p.r.c.o.ParkingLease, parkedLines(back))
	if err != nil {
		p.mu.Lock()
		p.back = append(back, p.back...)
		p.mu.Unlock()
	}
	for i, c := range mine {
		switch {
		case err == nil && i < len(ours) && ours[i]:
			c.until = begun.Add(p.r.c.o.ParkingLease)
		case err == nil, now().After(c.until.Add(-p.r.c.o.ParkingLease / 6)):
			p.drop(c)
		}
	}
	return err
}

func parkedLines(claims []*claim) []*ParkedLine {
	out := make([]*ParkedLine, len(claims))
	for i, c := range claims {
		out[i] = c.p
	}
	return out
}

// settled says that an item was handled, or given back with all that follows it.
func (p *parker) settled(it *item, release bool) {
	p.mu.Lock()
	c := it.claim
	if c.over {
		p.mu.Unlock()
		return
	}
	c.left--
	over := release || c.left == 0
	if over {
		c.over = true
		delete(p.claims, c)
		p.back = append(p.back, c)
	}
	p.mu.Unlock()
	if over {
		c.end()
		token(p.wake)
	}
}

// drop says that a line is no longer ours, or was given back by Park: what follows in it is not run.
func (p *parker) drop(c *claim) {
	p.mu.Lock()
	c.over = true
	delete(p.claims, c)
	p.mu.Unlock()
	c.end()
	token(p.wake)
}

// expect says that something will be due after d.
func (p *parker) expect(d time.Duration) {
	p.mu.Lock()
	at := now().Add(d)
	earlier := p.due.IsZero() || at.Before(p.due)
	if earlier {
		p.due = at
	}
	p.mu.Unlock()
	if earlier {
		token(p.wake)
	}
}

// halt is called before the lanes are told to stop: what is claimed meanwhile goes back at once.
func (p *parker) halt() {
	if p == nil {
		return
	}
	p.handing.Lock()
	defer p.handing.Unlock()
	p.halted = true
	close(p.stop)
}

// finish gives the rest back while ctx lasts. No item runs any more.
func (p *parker) finish(ctx context.Context) error {
	if p == nil {
		return nil
	}
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
		return errNotGivenBack
	}
}

var errNotGivenBack = errors.New("bus: parked messages could not be given back before the drain limit; another process takes them over when their lease ends")
