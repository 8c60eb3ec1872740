package claimcheck

import (
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// Inner is the source that s wraps.
func Inner(s bus.Source) bus.Source { return s.(*source).in }

// Held is how many bytes of bodies s has handed out.
func Held(s bus.Source) int {
	c := s.(*source)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// SetNow gives d a clock.
func (d *Dir) SetNow(now func() time.Time) { d.now = now }
