package memory

import (
	"errors"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// Cut makes the broker unreachable: senders are lost for ever and fail with bus.ErrUnavailable, also what they have no
// confirm of; sources lose their deliveries and block until Restore. What the broker took stays.
func (t *Transport) Cut() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down = true
	for s := range t.senders {
		s.end(bus.ErrUnavailable)
	}
	for s := range t.sources {
		s.loseAll()
	}
}

// Restore ends Cut: senders can be opened again, and sources go on.
func (t *Transport) Restore() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down = false
	for s := range t.sources {
		s.rebalance()
		s.ring()
	}
}

// Kill ends a source of this transport as the death of its process would: nobody closes it, its deliveries come again,
// marked as redelivered, and its lanes go to others.
func (t *Transport) Kill(src bus.Source) error {
	s, ok := src.(*source)
	if !ok || s.t != t {
		return errors.New("memory: kill: the source is not of this transport; give what Subscribe answered")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.end()
	return nil
}

// Revoke takes every delivery of a source away while it lives, as a broker does that moves lanes or ends leases.
// Its next Receive may get them again, marked as redelivered.
func (t *Transport) Revoke(src bus.Source) error {
	s, ok := src.(*source)
	if !ok || s.t != t {
		return errors.New("memory: revoke: the source is not of this transport; give what Subscribe answered")
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.loseAll()
	s.rebalance()
	s.ring()
	return nil
}

// Tap shows every envelope that the broker takes, in the order in which it does. f is called with the broker locked: it
// is quick, calls nothing of this package, and only reads. Nil ends it.
func (t *Transport) Tap(f func(topic string, env *sixfold.Envelope)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tap = f
}

// RefuseSends lets the broker answer f's error, where there is one, instead of taking an envelope. f is called like
// that of Tap; its errors wrap one of package bus. Nil ends it.
func (t *Transport) RefuseSends(f func(topic string, env *sixfold.Envelope) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refuse = f
}

// HoldConfirms withholds the confirms of envelopes that the broker took and for which f says so, until
// ReleaseConfirms. Closing the sender and Cut fail them with bus.ErrUnavailable, as lost confirms. f is called like that
// of Tap. Nil ends it for what is sent from then on.
func (t *Transport) HoldConfirms(f func(topic string, env *sixfold.Envelope) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hold = f
}

// ReleaseConfirms gives the confirms that were withheld so far.
func (t *Transport) ReleaseConfirms() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.senders {
		s.answer(nil)
	}
}
