package wire

import (
	"runtime"
	"sync/atomic"
	"time"
)

// A Crowd says whether many send over a connection, by how soon after one another they do. Then it pays that they hand over to the goroutine that
// sends, and that it waits until all who can run have done so: one write to the network takes them all. Who sends alone waits for nobody.
// The zero value is nobody. Comes and Here are safe for concurrent use, Wait and Sent belong to the goroutine that sends.
type Crowd struct {
	here atomic.Bool
	last atomic.Int64 // when somebody sent by itself: nanoseconds since begun
	near atomic.Int32 // how many did so, each soon after another

	alone int // how often in a row nothing was there to send along
}

// nearby who send soon after one another are a crowd; one that is alone forsake times is none any more. A call over a network takes longer than soon, so
// that one caller, however quick, is not taken for many.
const (
	soon    = int64(20 * time.Microsecond)
	nearby  = 3
	forsake = 4
)

// begun is when the clock of crowds began: differences of it are those of the monotonic clock.
var begun = time.Now()

// Comes notes that somebody is about to send, and reports whether there is a crowd.
func (c *Crowd) Comes(now time.Time) bool { return c.comes(now.Sub(begun).Nanoseconds()) }

func (c *Crowd) comes(at int64) bool {
	if c.here.Load() {
		return true
	}
	if at-c.last.Swap(at) > soon {
		c.near.Store(0)
		return false
	}
	if c.near.Add(1) < nearby {
		return false
	}
	c.here.Store(true)
	return true
}

// Wait lets the others come first, if there is a crowd, with what they are about to hand over.
func (c *Crowd) Wait() {
	if c.here.Load() {
		runtime.Gosched()
	}
}

// Sent notes how many were sent together.
func (c *Crowd) Sent(n int) {
	if n > 1 {
		c.alone = 0
		return
	}
	if c.alone++; c.alone >= forsake {
		c.alone = 0
		c.near.Store(0)
		c.here.Store(false)
	}
}
