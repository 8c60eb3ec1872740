package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// A source is one open subscription: a member of one queue per topic.
type source struct {
	t        *Transport
	members  []*member
	max      int // deliveries handed out and not settled
	held     heldList
	turn     int           // member that has its turn
	bell     chan struct{} // rings when a blocked Receive should look again
	blocked  bool          // a Receive waits for the bell
	awake    bool          // a Receive is under way
	asleep   bool          // a lease passed while nobody received: lanes go to others until somebody does
	gone     chan struct{} // closed with the source
	closed   bool
	timer    *time.Timer // of the oldest lease
	picked   []picked    // room for take
	shared   context.Context
	loseMine context.CancelFunc
}

// picked is a message on its way from a lane to a delivery.
type picked struct {
	*message
	lane   *lane
	member *member
	again  bool
}

// held is a delivery that is not settled.
type held struct {
	delivery   bus.Delivery
	msg        *message
	src        *source // nil once it is no longer the source's
	lane       *lane
	member     *member
	until      time.Time // end of its lease
	lose       context.CancelFunc
	prev, next *held
}

func newSource(t *Transport, sub bus.Subscription) *source {
	s := &source{t: t, max: sub.MaxInFlight, bell: make(chan struct{}, 1), gone: make(chan struct{})}
	if s.max == 0 {
		s.max = 1000
	}
	return s
}

func (s *source) join(q *queue) {
	m := &member{q: q, src: s}
	s.members = append(s.members, m)
	q.members = append(q.members, m)
	q.assign()
	q.wake()
}

// ring wakes a blocked Receive.
func (s *source) ring() {
	if !s.blocked {
		return
	}
	s.blocked = false
	select {
	case s.bell <- struct{}{}:
	default:
	}
}

// Receive implements bus.Source. While the transport is cut off it blocks.
func (s *source) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	if max < 1 {
		return nil, fmt.Errorf("memory: receive: %w: max is %d; ask for at least 1", sixfold.ErrInvalid, max)
	}
	defer s.pause()
	for {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("memory: receive: %w", err)
		}
		ds, err := s.poll(max)
		if len(ds) > 0 || err != nil {
			return ds, err
		}
		select {
		case <-s.bell:
		case <-s.gone:
		case <-ctx.Done():
		}
	}
}

// pause says that nobody receives now.
func (s *source) pause() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.blocked, s.awake = false, false
}

// poll takes what is there, or arranges for the bell to ring.
func (s *source) poll(max int) ([]*bus.Delivery, error) {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.closed {
		return nil, errClosed("receive")
	}
	s.awake = true
	if s.asleep {
		s.asleep = false
		s.rebalance()
	}
	ds := s.take(min(max, s.max-s.held.n))
	s.blocked = len(ds) == 0
	return ds, nil
}

// take delivers up to n messages, beginning with the topic that has its turn.
func (s *source) take(n int) []*bus.Delivery {
	if s.t.down || n <= 0 {
		return nil
	}
	got := s.picked[:0]
	for i := range s.members {
		got = s.members[(s.turn+i)%len(s.members)].take(n-len(got), got)
	}
	if len(got) == 0 {
		return nil
	}
	s.turn = (s.turn + 1) % len(s.members)
	s.picked = got
	ds := s.deliver(got)
	clear(got)
	return ds
}

// deliver makes deliveries. They are allocated in small blocks: one by one is slow, and a large block would stay as
// long as the slowest of its handlers.
func (s *source) deliver(got []picked) []*bus.Delivery {
	var until time.Time
	if s.t.lease > 0 {
		until = time.Now().Add(s.t.lease)
	}
	const block = 32
	ds := make([]*bus.Delivery, len(got))
	var room []held
	for i, p := range got {
		if len(room) == 0 {
			room = make([]held, min(block, len(got)-i))
		}
		h := &room[0]
		room = room[1:]
		h.msg, h.src, h.lane, h.member, h.until = p.message, s, p.lane, p.member, until
		h.delivery.Envelope = p.env
		h.delivery.Topic = p.topic.name
		h.delivery.Redelivered = p.again
		h.delivery.Token = h
		h.delivery.Owned = s.owned(h)
		s.held.push(h)
		ds[i] = &h.delivery
	}
	s.arm()
	return ds
}

// owned is the context of a delivery: one per lane where there is order; one per delivery where each can be lost alone;
// else one per source.
func (s *source) owned(h *held) context.Context {
	switch {
	case h.member.q.ordered:
		return h.lane.context()
	case s.t.lease > 0:
		var ctx context.Context
		ctx, h.lose = context.WithCancel(context.Background())
		return ctx
	case s.shared == nil:
		s.shared, s.loseMine = context.WithCancel(context.Background())
	}
	return s.shared
}

// Settle implements bus.Source.
func (s *source) Settle(_ context.Context, settlements []bus.Settlement) []error {
	errs := make([]error, len(settlements))
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	moved := false
	for i := range settlements {
		if s.closed {
			errs[i] = errClosed("settle")
			continue
		}
		h := s.own(settlements[i].Delivery)
		if h == nil {
			errs[i] = fmt.Errorf("memory: settle: %w: it was settled, its lease passed, or its lane moved", bus.ErrLost)
			continue
		}
		msg := h.msg
		if settlements[i].Release {
			s.giveBack(h, false)
			moved = true
			continue
		}
		s.remove(h)
		h.lane.held--
		moved = moved || h.lane.held == 0 && h.lane.owner != nil && h.member.takes&h.lane.bit == 0
		msg.done()
	}
	if moved {
		s.rebalance()
	}
	s.ring() // there is room below MaxInFlight
	return errs
}

// Extend implements bus.Source. Deliveries that are no longer ours answer bus.ErrLost; the others are extended.
func (s *source) Extend(_ context.Context, ds []*bus.Delivery) error {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	if s.closed {
		return errClosed("extend")
	}
	var until time.Time
	if s.t.lease > 0 {
		until = time.Now().Add(s.t.lease)
	}
	lost := 0
	for _, d := range ds {
		h := s.own(d)
		if h == nil {
			lost++
			continue
		}
		h.until = until
		s.held.remove(h)
		s.held.push(h)
	}
	s.arm()
	if lost > 0 {
		return fmt.Errorf("memory: extend: %w: %d of %d were settled, or their lease had passed", bus.ErrLost, lost, len(ds))
	}
	return nil
}

// Close implements bus.Source. It never blocks and always answers nil.
func (s *source) Close(context.Context) error {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.end()
	return nil
}

// end gives everything back and leaves the queues.
func (s *source) end() {
	if s.closed {
		return
	}
	s.closed = true
	s.loseAll()
	for _, m := range s.members {
		m.q.leave(m)
		if m.q.group == "" {
			m.q.topic.drop(m.q)
		}
	}
	close(s.gone)
	delete(s.t.sources, s)
}

// loseAll gives every delivery back and ends their contexts.
func (s *source) loseAll() {
	for s.held.first != nil {
		s.giveBack(s.held.first, true)
	}
	if s.loseMine != nil {
		s.loseMine()
		s.shared, s.loseMine = nil, nil
	}
	s.arm()
}

// own answers what is held for d, or nil when it is not this source's.
func (s *source) own(d *bus.Delivery) *held {
	if d == nil {
		return nil
	}
	if h, ok := d.Token.(*held); ok && h.src == s {
		return h
	}
	return nil
}

// remove ends the holding of h.
func (s *source) remove(h *held) {
	s.held.remove(h)
	h.src, h.msg = nil, nil
}

// giveBack puts h's message back into its lane; lost says that this was not the source's wish.
func (s *source) giveBack(h *held, lost bool) {
	h.member.q.giveBack(h.lane, h.msg)
	s.remove(h)
	if h.lose != nil {
		h.lose()
	}
	if lost && h.member.q.ordered {
		h.lane.endOwned()
	}
}

// rebalance divides the lanes of the source's queues anew and wakes who has something to take.
func (s *source) rebalance() {
	for _, m := range s.members {
		m.q.assign()
		m.q.wake()
	}
}

func errClosed(verb string) error {
	return fmt.Errorf("memory: %s: %w: the source was closed; subscribe again", verb, bus.ErrClosed)
}
