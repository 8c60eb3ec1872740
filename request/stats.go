package request

// ClientStats count since the client was made.
type ClientStats struct {
	// InFlight calls wait now.
	InFlight int
	// Streams and scattered requests are open now.
	Streams int
	// Calls were begun; AtCapacity were refused before that, streams among them.
	Calls, AtCapacity uint64
	// Late replies came after the call had ended without one, Duplicate ones after another reply.
	Late, Duplicate uint64
	// Forged packets answer a call that this client did not make, on this connection, are of another type than its answer, or are
	// not signed as ClientOptions.Verifier asks for.
	Forged uint64
	// Malformed packets break the protocol; WrongVersion ones are of another version than was asked with.
	Malformed, WrongVersion uint64
	// Lost is how often the connection was lost.
	Lost uint64
}

// Stats counts what the client has done and seen.
func (c *Client) Stats() ClientStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.InFlight, s.Streams = len(c.alarm.heap), c.flows.count()
	return s
}

// ResponderStats count since the responder was made.
type ResponderStats struct {
	// Running handlers, and requests that Waiting for one, now.
	Running, Waiting int
	// Answered requests have a reply; Faults are requests that were answered by a category.
	Answered, Faults uint64
	// Expired requests were not run, since their deadline had passed; Full ones since too many waited.
	Expired, Full uint64
	// Dropped packets are no request, or have no id or no place for an answer. Duplicate ones are being run already.
	Dropped, Duplicate uint64
	// Unauthorised requests and cancellations were not signed as ServeOptions.Verifier asks for.
	Unauthorised uint64
	// Cancelled requests were ended by their caller, before they ran or while they did.
	Cancelled uint64
	// Gone callers made an answer undeliverable, where the lane sees that. Unsent answers failed otherwise.
	Gone, Unsent uint64
	// Lost is how often the connection was lost.
	Lost uint64
}

// Stats counts what the responder has done and seen.
func (r *Responder) Stats() ResponderStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	taken := r.running + r.queue.n
	s.Running = min(taken, r.o.MaxConcurrent) // those for which a worker is on its way count as well
	s.Answered = r.answered.Load()
	s.Waiting = taken - s.Running
	return s
}
