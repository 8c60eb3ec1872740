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
	// Soon: rows were written by a transaction that has not committed yet, as far as is known here.
	Soon Ring = iota + 1
	// Now: rows were committed.
	Now
)

// Ring wakes every listener. It never blocks; rings that nobody has heard yet become one, Now before Soon.
func (b *Bell) Ring(r Ring) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.listeners {
		select {
		case c <- r:
		default:
			if r == Now {
				select {
				case <-c:
				default:
				}
				select {
				case c <- r:
				default:
				}
			}
		}
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
