package rabbitmq

// The window of a sender. It bounds what a lost connection leaves in doubt, and what the node has to keep track of.
const (
	ringSize     = 8192 // a power of two
	mostInFlight = 32 << 20
)

// A slot is one message whose confirm has not come.
type slot struct {
	p    *pending
	i    int
	size int

	topic, key, id string
	mayMiss        bool
	unproven       bool // nothing on this topic had been confirmed yet
	returned       bool // no queue got it
	doubt          bool // a return may have meant it
}

// A ring is what is in flight, by the number of the message. Its numbers are the channel's: the first is 1.
type ring struct {
	slots [ringSize]slot
	head  uint64 // the oldest in flight, or next; begin at 1
	next  uint64 // number of the next message
	bytes int
}

// full reports whether a message of that size has to wait. One that is too large for the window goes alone.
func (r *ring) full(size int) bool {
	return r.next-r.head >= ringSize || r.bytes > 0 && r.bytes+size > mostInFlight
}

// low reports whether there is so much room again that who waits should be woken.
func (r *ring) low() bool {
	return r.next-r.head <= ringSize*3/4 && r.bytes <= mostInFlight*3/4
}

func (r *ring) push(s slot) uint64 {
	n := r.next
	r.slots[n%ringSize] = s
	r.next++
	r.bytes += s.size
	return n
}

// take removes message n and answers its slot, which is empty if n is not in flight.
func (r *ring) take(n uint64) (s slot) {
	if n < r.head || n >= r.next {
		return s
	}
	at := &r.slots[n%ringSize]
	s, *at = *at, s
	r.bytes -= s.size
	for r.head < r.next && r.slots[r.head%ringSize].p == nil {
		r.head++
	}
	return s
}

// find answers the oldest message in flight for which f holds.
func (r *ring) find(f func(s *slot) bool) (n uint64, ok bool) {
	for n := r.head; n < r.next; n++ {
		if s := &r.slots[n%ringSize]; s.p != nil && f(s) {
			return n, true
		}
	}
	return 0, false
}
