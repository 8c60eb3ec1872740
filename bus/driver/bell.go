package driver

// A Bell wakes a Receive that has found nothing. Its source's lock guards Ring and Wait; C may be read without.
type Bell struct {
	c      chan struct{}
	awaits bool
}

// NewBell is a bell that nobody waits for.
func NewBell() Bell { return Bell{c: make(chan struct{}, 1)} }

// C has a token when a Receive should look again.
func (b *Bell) C() <-chan struct{} { return b.c }

// Wait says whether a Receive is going to wait for the next Ring.
func (b *Bell) Wait(awaits bool) { b.awaits = awaits }

// Awaited reports whether a Receive waits.
func (b *Bell) Awaited() bool { return b.awaits }

// Ring wakes a Receive that waits.
func (b *Bell) Ring() {
	if !b.awaits {
		return
	}
	b.awaits = false
	select {
	case b.c <- struct{}{}:
	default:
	}
}
