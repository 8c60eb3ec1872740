package outbox

import "sync"

// A Bell tells the relays of a process that rows may have been committed. The zero value is ready. It is safe for
// concurrent use and costs a publisher next to nothing.
type Bell struct {
	mu        sync.Mutex
	listeners map[chan Ring]struct{}
}

// Ring is what was heard.
type Ring int

const (
	// Heard: another process says that it wrote rows. It is told from the other two so that nobody tells it on.
	Heard Ring = iota + 1
	// Soon: rows were written by a transaction that has not committed yet, as far as is known here.
	Soon
	// Now: rows were committed.
	Now
)

// Ring wakes every listener. It never blocks; rings that nobody has heard yet become one: Now before Soon before Heard.
func (b *Bell) Ring(r Ring) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.listeners {
		most := r
		select {
		case waits := <-c:
			most = max(most, waits)
		default:
		}
		c <- most // there is room: only who holds mu fills it
	}
}

// Listen answers a channel that hears every ring from now on, until stop is called.
func (b *Bell) Listen() (rings <-chan Ring, stop func()) {
	c := make(chan Ring, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listeners == nil {
		b.listeners = make(map[chan Ring]struct{})
	}
	b.listeners[c] = struct{}{}
	return c, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.listeners, c)
	}
}
