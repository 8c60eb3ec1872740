package bus

import (
	"slices"
	"sync/atomic"
	"time"
)

// State of a Consumer.
type State int

const (
	// New has not been run.
	New State = iota
	// Connecting waits for the broker.
	Connecting
	// Running receives and handles.
	Running
	// Paused handles what it has and receives no more until Resume.
	Paused
	// Draining was told to stop and waits for what is in flight.
	Draining
	// Stopped has returned from Run.
	Stopped
)

func (s State) String() string {
	names := [...]string{"new", "connecting", "running", "paused", "draining", "stopped"}
	if s < New || int(s) >= len(names) {
		return "unknown"
	}
	return names[s]
}

// Health is what a Consumer knows about itself at one moment.
type Health struct {
	State State
	// Since when it is in that state.
	Since time.Time
	// InFlight counts messages that were received and not settled.
	InFlight int
	// Held counts messages that failed and wait, in memory, for their next attempt or their dead letter. Each holds
	// back the later ones of its key.
	Held int
	// Stuck counts those of Held that cannot be parked, or whose dead letter cannot be sent, now.
	Stuck int
	// Parked counts the messages of this consumer, in all processes, that wait in the database, as of a few seconds ago; those behind a
	// dead letter too. Crowded: there are Options.MaxParked of them, so that no more are received.
	Parked  int
	Crowded bool
	// OldestType is the type of the message whose handler has been running longest, and OldestFor for how long. Beyond
	// HandlerTimeout it ignores its context and blocks its lane. Empty and 0 when none is running.
	OldestType string
	OldestFor  time.Duration
	// LastError is the last failure of a handler, the broker or the database, and LastErrorAt when it was. Nil: none yet.
	LastError   error
	LastErrorAt time.Time
}

// status is the part of Health that is noted when it changes.
type status struct {
	state State
	since time.Time
	err   error
	errAt time.Time
}

// Health answers how the consumer is. It is cheap enough for a probe every second.
func (c *Consumer) Health() Health {
	c.mu.Lock()
	s := c.status
	c.mu.Unlock()
	h := Health{State: s.state, Since: s.since, LastError: s.err, LastErrorAt: s.errAt}
	if r := c.live.Load(); r != nil {
		r.health(&h)
	}
	return h
}

// enter changes the state, from any other one or from those that are named only.
func (c *Consumer) enter(s State, from ...State) {
	c.mu.Lock()
	changed := c.status.state != s && (len(from) == 0 || slices.Contains(from, c.status.state))
	if changed {
		c.status.state, c.status.since = s, now()
	}
	c.mu.Unlock()
	if changed && c.o.Hooks.State != nil {
		c.o.Hooks.State(s)
	}
}

func (c *Consumer) noteError(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.err, c.status.errAt = err, now()
}

func now() time.Time { return time.Now() }

// outage logs the beginning and the end of a trouble, and nothing in between.
type outage struct {
	c          *Consumer
	what, over string

	begun atomic.Bool
}

func (o *outage) begin(err error) {
	o.c.noteError(err)
	if o.begun.CompareAndSwap(false, true) {
		o.c.log.Warn("bus: "+o.what, "consumer", o.c.s.Group, "error", err)
	}
}

func (o *outage) end() {
	if o.begun.Load() && o.begun.CompareAndSwap(true, false) {
		o.c.log.Info("bus: "+o.over, "consumer", o.c.s.Group)
	}
}
