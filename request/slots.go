package request

import (
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// A slot is a call that waits. Slots are used again. Client.mu guards them.
type slot struct {
	id    string
	name  string    // of the message; the type of the answer has ReplySuffix behind it
	until time.Time // the call's deadline
	port  *port     // to which the reply has to come; nil while there is none
	wait  waiter
	at    int   // in the alarm's heap
	next  *slot // of those to use again
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
	s := c.spare
	if s == nil {
		s = new(slot)
	} else {
		c.spare = s.next
	}
	*s = slot{id: id, name: name, until: until, port: c.port, wait: wait}
	c.slots[id] = s
	c.alarm.add(s)
	c.set(s)
	c.calls.Add(1)
	c.stats.Calls++
	return s.port, nil
}

// free takes back the slot of a call that waits, which the caller tells its outcome then. mu is held.
func (c *Client) free(s *slot, reply bool) (waiter, *port) {
	wait, port := s.wait, s.port
	c.alarm.remove(s)
	delete(c.slots, s.id)
	c.history.add(s.id, reply)
	*s = slot{next: c.spare}
	c.spare = s
	return wait, port
}

// end has a call that waits end without a reply. mu is held.
func (c *Client) end(s *slot, err error) {
	wait, port := c.free(s, false)
	wait <- outcome{err: err, port: port}
}

// leave gives the slot of a call back with an outcome of the caller's own, unless it has one already.
func (c *Client) leave(id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.slots[id]; s != nil {
		c.end(s, err)
	}
}

// bind says to which port the reply has to come. It reports false when the port was lost or the slot has its outcome.
func (c *Client) bind(id string, p *port) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.slots[id]
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
	ok = ok && kind == KindReply
	proven := c.o.Verifier == nil || ok && version == Version && c.proves(p)
	if wait, port := c.accept(from, p, ok, version, proven); wait != nil {
		wait <- outcome{reply: p, port: port} // without the lock, for which who is woken up would wait
	}
}

// accept frees the slot of the call that a reply ends, and answers who waits for it: nil where it ends none.
func (c *Client) accept(from *port, p *Packet, reply bool, version int, proven bool) (waiter, *port) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !reply {
		c.stats.Malformed++
		return nil, nil
	}
	s := c.slots[p.Request]
	if s == nil {
		c.stray(p.Request)
		return nil, nil
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
		return c.free(s, true)
	}
	if planted.Is(planted.SlotFreed) {
		c.end(s, ErrDecode)
	}
	return nil, nil
}

// stray counts a reply that nobody waits for. mu is held.
func (c *Client) stray(id string) {
	if !isID(id) {
		c.stats.Malformed++
		return
	}
	call := c.history.find(id)
	switch {
	case call == nil:
		c.stats.Forged++
	case call.hash&replied != 0:
		c.stats.Duplicate++
	default:
		c.stats.Late++
		call.hash |= replied // what comes after it is its duplicate
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
	if s := c.slots[id]; s != nil && s.port == from {
		c.end(s, ErrNoResponder)
	}
}
