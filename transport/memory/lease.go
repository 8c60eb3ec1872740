package memory

import "time"

// arm sets the timer to the end of the oldest lease.
func (s *source) arm() {
	switch {
	case s.t.lease == 0:
	case s.held.first == nil:
		if s.timer != nil {
			s.timer.Stop()
			s.timer = nil
		}
	case s.timer == nil:
		s.timer = time.AfterFunc(time.Until(s.held.first.until), s.expire)
	}
}

// expire takes back what was neither settled nor extended in time. Where there is order the whole lane goes, since what
// follows in it may not be handled before.
func (s *source) expire() {
	s.t.mu.Lock()
	defer s.t.mu.Unlock()
	s.timer = nil
	now := time.Now()
	var over []*held
	for h := s.held.first; h != nil && !h.until.After(now); h = h.next {
		over = append(over, h)
	}
	for _, h := range over {
		if h.src != s {
			continue // went with its lane
		}
		if !h.member.q.ordered {
			s.giveBack(h, true)
			continue
		}
		lane := h.lane
		for o := s.held.first; o != nil; {
			next := o.next
			if o.lane == lane {
				s.giveBack(o, true)
			}
			o = next
		}
	}
	if len(over) > 0 {
		s.asleep = !s.awake
		s.rebalance()
		s.ring()
	}
	s.arm()
}

// heldList is in the order in which leases end.
type heldList struct {
	first, last *held
	n           int
}

func (l *heldList) push(h *held) {
	h.prev, h.next = l.last, nil
	if l.last != nil {
		l.last.next = h
	} else {
		l.first = h
	}
	l.last = h
	l.n++
}

func (l *heldList) remove(h *held) {
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		l.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	} else {
		l.last = h.prev
	}
	h.prev, h.next = nil, nil
	l.n--
}
