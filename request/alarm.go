package request

import "time"

// An alarm ends the calls whose time has come: one timer for all of a client's calls, which goes off for the earliest of
// them that there was when it was set. Most calls are over by then, and cost the timer nothing. Client.mu guards it.
type alarm struct {
	heap  []*slot // of calls that wait; the earliest deadline is the first
	timer *time.Timer
	at    time.Time // when the timer goes off; zero: it does not
}

// add puts a call in.
func (a *alarm) add(s *slot) {
	s.at = len(a.heap)
	a.heap = append(a.heap, s)
	a.up(s.at)
}

// remove takes a call out.
func (a *alarm) remove(s *slot) {
	last := len(a.heap) - 1
	i, moved := s.at, a.heap[last]
	a.heap[last] = nil
	a.heap = a.heap[:last]
	if i == last {
		return
	}
	a.heap[i], moved.at = moved, i
	a.down(i)
	a.up(i)
}

func (a *alarm) up(i int) {
	s := a.heap[i]
	for i > 0 {
		above := (i - 1) / 2
		if !s.until.Before(a.heap[above].until) {
			break
		}
		a.heap[i] = a.heap[above]
		a.heap[i].at = i
		i = above
	}
	a.heap[i], s.at = s, i
}

func (a *alarm) down(i int) {
	s := a.heap[i]
	for {
		below := 2*i + 1
		if below >= len(a.heap) {
			break
		}
		if other := below + 1; other < len(a.heap) && a.heap[other].until.Before(a.heap[below].until) {
			below = other
		}
		if !a.heap[below].until.Before(s.until) {
			break
		}
		a.heap[i] = a.heap[below]
		a.heap[i].at = i
		i = below
	}
	a.heap[i], s.at = s, i
}

// set has the alarm go off for a call that was added. mu is held.
func (c *Client) set(s *slot) {
	a := &c.alarm
	if !a.at.IsZero() && !s.until.Before(a.at) {
		return
	}
	if a.at.IsZero() {
		c.wg.Add(1) // for ring, before Close waits, since it is not closed
	}
	a.at = s.until
	d := time.Until(s.until)
	if a.timer == nil {
		a.timer = time.AfterFunc(d, c.ring)
	} else {
		a.timer.Reset(d)
	}
}

// ring ends what is due.
func (c *Client) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := &c.alarm
	if a.at.IsZero() { // it was stopped, too late
		return
	}
	now := time.Now()
	if now.Before(a.at) { // it was set again while it went off
		return
	}
	a.at = time.Time{}
	for len(a.heap) > 0 && !a.heap[0].until.After(now) {
		c.end(a.heap[0], errTimedOut)
	}
	if len(a.heap) > 0 && !c.closed {
		c.set(a.heap[0])
	}
	c.wg.Done()
}

// silence stops the alarm for good: the client is closed, and no call waits. mu is held.
func (c *Client) silence() {
	a := &c.alarm
	if a.at.IsZero() {
		return
	}
	a.at = time.Time{}
	a.timer.Stop() // where it goes off all the same it does nothing
	c.wg.Done()
}
