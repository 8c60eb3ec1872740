package request

import (
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// A slot is a call that waits, and for a while one that has ended, to tell late replies from forged ones. Slots are used again.
// Client.mu guards them.
type slot struct {
	id    string
	name  string    // of the message; the type of the answer has ReplySuffix behind it
	until time.Time // the call's deadline
	port  *port     // to which the reply has to come; nil while there is none
	wait  waiter    // nil: it has ended
	at    int       // in the alarm's heap, while it waits

	replied bool  // it ended with a reply, or one came late
	next    *slot // that ended after it
}

// outcome of a call.
type outcome struct {
	reply *Packet
	err   error // or why there is none
	port  *port // that the call had
}

// A waiter is where a call waits: it has room for its one outcome.
type waiter chan outcome

// answers reports whether a type is that of the answer.
func (s *slot) answers(typ string) bool {
	name, ok := strings.CutSuffix(typ, ReplySuffix)
	return ok && name == s.name
}

// enter takes a slot, with the port if there is one, or says why there is none. The caller receives from wait until it has its outcome.
func (c *Client) enter(id, name string, until time.Time, wait waiter) (*port, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, ErrClosed
	case len(c.alarm.heap) >= c.o.MaxInFlight:
		c.stats.AtCapacity++
		return nil, ErrAtCapacity
	}
	s := c.ends.reuse()
	*s = slot{id: id, name: name, until: until, port: c.port, wait: wait}
	c.slots[id] = s
	c.alarm.add(s)
	c.set(s)
	c.calls.Add(1)
	c.stats.Calls++
	return s.port, nil
}

// end decides the outcome of a slot that waits. mu is held.
func (c *Client) end(s *slot, reply *Packet, err error) {
	c.alarm.remove(s)
	s.wait <- outcome{reply, err, s.port}
	s.wait, s.port, s.replied = nil, nil, reply != nil
	if old := c.ends.add(s); old != nil {
		delete(c.slots, old.id)
	}
}

// waits answers the slot of a call that waits, or nil. mu is held.
func (c *Client) waits(id string) *slot {
	if s := c.slots[id]; s != nil && s.wait != nil {
		return s
	}
	return nil
}

// leave gives the slot of a call back with an outcome of the caller's own, unless it has one already.
func (c *Client) leave(id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.waits(id); s != nil {
		c.end(s, nil, err)
	}
}

// bind says to which port the reply has to come. It reports false when the port was lost or the slot has its outcome.
func (c *Client) bind(id string, p *port) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.waits(id)
	if p.lost || s == nil {
		return false
	}
	s.port = p
	return true
}

// take looks at what came to a port. The first valid reply wins; all else is counted and leaves the slot open.
func (c *Client) take(from *port, p *Packet) {
	kind, version, ok := p.kind()
	if ok && (kind != KindReply || c.flows.used.Load()) && isID(p.Request) && c.takeFlow(from, p, kind, version) {
		return
	}
	proven := c.o.Verifier == nil || ok && kind == KindReply && version == Version && c.proves(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !ok || kind != KindReply || !isID(p.Request) {
		c.stats.Malformed++
		return
	}
	s := c.slots[p.Request]
	if s == nil || s.wait == nil {
		c.stray(s)
		return
	}
	switch {
	case version != Version:
		c.stats.WrongVersion++
	case s.port != from:
		c.stats.Forged++
	case p.Damaged != nil:
		c.stats.Malformed++
	case !proven:
		c.stats.Forged++
	case p.Status == statusOK && !s.answers(p.Envelope.Type), p.Status != statusOK && p.Envelope.Type != FaultType:
		c.stats.Forged++
	case p.Status != statusOK && !Category(p.Status).known():
		c.stats.Malformed++
	default:
		c.end(s, p, nil)
		return
	}
	if planted.Is(planted.SlotFreed) {
		c.end(s, nil, ErrDecode)
	}
}

// stray counts a reply that nobody waits for; s is its call, if that is known. mu is held.
func (c *Client) stray(s *slot) {
	switch {
	case s == nil:
		c.stats.Forged++
	case s.replied:
		c.stats.Duplicate++
	default:
		c.stats.Late++
		s.replied = true // what comes after it is its duplicate
	}
}

// undeliverable ends a call whose request reached nobody.
func (c *Client) undeliverable(from *port, id string) {
	if c.flows.used.Load() {
		if f, _ := c.flows.find(id); f != nil {
			f.undeliverable(from)
			return
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.waits(id); s != nil && s.port == from {
		c.end(s, nil, ErrNoResponder)
	}
}

// ends are the last calls that have ended, the oldest first, and slots to use again.
type ends struct {
	first, last *slot
	n, most     int
	spare       *slot // linked by next
}

// add remembers s. It answers the slot that is forgotten for that, which is used again from then on, or nil.
func (e *ends) add(s *slot) (forgotten *slot) {
	if e.last == nil {
		e.first = s
	} else {
		e.last.next = s
	}
	e.last = s
	if e.n < e.most {
		e.n++
		return nil
	}
	forgotten = e.first
	e.first = forgotten.next
	forgotten.next = e.spare
	e.spare = forgotten
	return forgotten
}

// reuse answers a slot to use.
func (e *ends) reuse() *slot {
	s := e.spare
	if s == nil {
		return new(slot)
	}
	e.spare = s.next
	return s
}
