package bus

import (
	"context"
	"errors"
	"time"
)

// ErrParkingFull says that no more messages may wait, behind one key or of one consumer. What is concerned stays at the
// broker.
var ErrParkingFull = errors.New("as many failed messages wait as may")

// Parking is where a consumer's own database keeps the messages that it could not handle; inbox.Box implements it. The
// messages of a key are a line, whose second one is not run before the first has left it.
type Parking interface {
	// Park commits, in a transaction of its own, that an attempt at a message failed or that none is made. Nil: it is safe
	// there, or another copy of it was handled, parked or dead already; it is acknowledged then. The delivery may be one that
	// Claim answered: its line is given back then. ErrLost: it was not ours any more.
	Park(ctx context.Context, consumer string, f Failure) error
	// Admit is asked before a handler runs that has no transaction of Parking's: run is false when the message was handled
	// before, or waits now behind its key. done, unless it is nil, is called when the handler has succeeded.
	Admit(ctx context.Context, consumer string, d *Delivery) (done func(context.Context) error, run bool, err error)
	// Claim takes over lines that are due, for a while. Their deliveries have Claims.
	Claim(ctx context.Context, consumer string, ask ParkedAsk) (ParkedWork, error)
	// Begin commits that an attempt at the first message of a suspect line begins, which may crash the process. False: the
	// line is not ours any more.
	Begin(ctx context.Context, ln *ParkedLine, hold time.Duration) (ours bool, err error)
	// Tend keeps the lines of keep for another while, which is counted from now, and gives those of back back. It reports
	// which of keep are still ours.
	Tend(ctx context.Context, keep []*ParkedLine, hold time.Duration, back []*ParkedLine) (ours []bool, err error)
}

// Failure is an attempt at a message that failed, or why none is made.
type Failure struct {
	*Delivery
	// Attempts so far.
	Attempts int
	// Delay before the next one.
	Delay time.Duration
	// Dead is the reason why there is no next one, as DeadReason has it; empty: there is.
	Dead string
	// GoOn lets the later messages of the key take effect without a dead one.
	GoOn bool
	Err  error
	// Text of Err and all that it wraps, one line of at most 4 kB.
	Text string
	// Node where it failed: host and process.
	Node string
}

// ParkedAsk is what a consumer can take.
type ParkedAsk struct {
	Lines, Rows int           // at most: lines, and messages of each
	Hold        time.Duration // how long they are ours
	Count       bool          // answer Waiting
}

// ParkedWork is the answer.
type ParkedWork struct {
	Lines []*ParkedLine
	// Next is the time until another line is due; negative: none waits.
	Next time.Duration
	// Waiting counts the messages in all lines of the consumer; -1 when not asked for.
	Waiting int
}

// ParkedLine is a line that was claimed, with its first messages.
type ParkedLine struct {
	Deliveries []*Delivery
	// Attempts at the first one so far.
	Attempts int
	// Suspect: the first one may have crashed a process. It runs alone, and Begin counts its attempt.
	Suspect bool
	// Begun: an attempt was counted by Begin. Given back, it is taken off again.
	Begun bool
	// Token is Parking's own handle.
	Token any
}
