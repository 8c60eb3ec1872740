package schedule

import (
	"context"
	"math"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Store is a database's part of a scheduler; store.Store.Schedule makes one. All times are by the database's clock, in UTC and
// microseconds.
type Store interface {
	Delayed() DelayedStore
	Recurring() RecurringStore
	History() HistoryStore
	// Next says how long it is until something is due, from messages due from from on (zero: all).
	Next(ctx context.Context, from time.Time) (Due, error)
	// Passing reports whether err is the infrastructure's own, so that the same may succeed in a new transaction.
	Passing(err error) bool
}

// Due is how long it is until something is due: 0 and below is now.
type Due struct{ Delayed, Recurring time.Duration }

// Never is how long it is until what never comes.
const Never time.Duration = math.MaxInt64

// DelayedStore holds messages that wait for their time. outbox.Writer writes them.
type DelayedStore interface {
	// Promote moves up to limit messages that are due from from on (zero: all that are) into the tables for which they wait, in the
	// order of their times, in one transaction. One call at a time works for all processes; another one answers Busy at
	// once. What a transaction holds that has not ended is left for later.
	Promote(ctx context.Context, limit int, from time.Time) (Promotion, error)
	// Cancel removes the rows of a message.
	Cancel(ctx context.Context, tx sqltx.Tx, id string) (Found, error)
	// Reschedule changes when the rows of a message are due: at, or if that is zero when after has passed.
	Reschedule(ctx context.Context, tx sqltx.Tx, id string, at time.Time, after time.Duration) (Found, error)
	// List answers rows in the order of their times, from page.After on.
	List(ctx context.Context, page DelayedPage) ([]Waiting, error)
}

// Promotion is what a Promote did.
type Promotion struct {
	Moved int
	// Last is the time of the last one moved, from which on another call in a row may look.
	Last time.Time
	// Busy: another process is moving them.
	Busy bool
}

// Found says what became of a delayed message.
type Found int

const (
	// Unknown: there is no such message, or there was one a long time ago.
	Unknown Found = iota
	// Changed: it was there, and is as the caller wants it.
	Changed
	// Promoted: it was due, and is on its way.
	Promoted
)

// DelayedPage is a part of the delayed messages: Limit rows that are behind (After, AfterN).
type DelayedPage struct {
	ID     string // empty: of all messages
	After  time.Time
	AfterN int64
	Limit  int
}

// Waiting is a row of a delayed message.
type Waiting struct {
	outbox.DelayedRow
	// N is a number of the row that is its own; At is when it is due.
	N int64
	// In is how long it is until then; negative: it is late.
	In time.Duration
}

// RecurringStore holds schedules.
type RecurringStore interface {
	// Find locks a schedule until tx ends, and answers it with the time; nil: there is none.
	Find(ctx context.Context, tx sqltx.Tx, name string) (e *Entry, now time.Time, err error)
	// Save replaces one that tx has locked. A new one is entered, unless there is one of that name, perhaps since a moment ago.
	Save(ctx context.Context, tx sqltx.Tx, e *Entry, isNew bool) (done bool, err error)
	// Owned answers the names of an owner's schedules that were not removed, in order.
	Owned(ctx context.Context, tx sqltx.Tx, owner string) ([]string, error)
	// Advance locks up to limit schedules whose Wake has come and that nobody else holds, has plan say what becomes of them, and
	// writes that: all in one transaction. An occurrence that was planned for the same time before is not written again. It
	// answers how many schedules there were.
	Advance(ctx context.Context, limit int, plan func(now time.Time, due []Entry) []Step) (int, error)
	// List answers schedules with a name behind after, in their order, at most limit, with the time.
	List(ctx context.Context, after string, limit int) (es []Entry, now time.Time, err error)
}

// State of a schedule.
type State int

const (
	// Active: it has a next occurrence.
	Active State = iota + 1
	// Paused: nothing happens until it is resumed.
	Paused
	// Finished: it has had its last occurrence.
	Finished
	// Removed: nothing happens any more. It is there for its history.
	Removed
)

func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Paused:
		return "paused"
	case Finished:
		return "finished"
	case Removed:
		return "removed"
	}
	return "unknown"
}

// Entry is a schedule as it is kept.
type Entry struct {
	Name string
	// Spec and Zone are for people; Definition has them too.
	Spec, Zone string
	// Definition is all that the caller said, and the message.
	Definition []byte
	// Owner is who declared it in code; empty: it was made at run time.
	Owner string
	State State
	// Runs is the number of occurrences.
	Runs int64
	// Next is the planned time of the next occurrence, and Wake when to look at it, which is later with jitter and while many
	// are caught up with. Zero: none.
	Next, Wake time.Time
	// Last is the planned time of the last occurrence that was decided on; LastID is the message of the last one that began.
	Last   time.Time
	LastID string
	// LastFrom and LastTo are numbers of local rows between which that message was written; LastFrom itself is not one of them.
	LastFrom, LastTo int64
	// Problem is why it cannot go on; empty: nothing.
	Problem string
	// Changed is when a person or a program changed it last.
	Changed time.Time
	// Unhandled says, in what Advance gives to plan, that the last message is not handled yet. It is asked for where
	// NoOverlap is set only.
	NoOverlap, Unhandled bool
}

// Step is what becomes of a schedule that is due.
type Step struct {
	// Entry as it is afterwards. Its definition, its owner and what else people set stay as they are.
	Entry Entry
	// Occurrences to enter, in order.
	Occurrences []Begun
}

// Begun is an occurrence with the rows of its message.
type Begun struct {
	Occurrence
	Broker, Local []outbox.Row
}

// Outcome of an occurrence.
type Outcome int

const (
	// Begins: its message was written.
	Begins Outcome = iota + 1
	// Misfired: it was too late, and the policy leaves it out.
	Misfired
	// Overlapped: the message of the one before was not handled yet.
	Overlapped
	// Triggered: somebody asked for it.
	Triggered
	// Failed: its message could not be made.
	Failed
)

func (o Outcome) String() string {
	switch o {
	case Begins:
		return "begun"
	case Misfired:
		return "misfired"
	case Overlapped:
		return "overlapped"
	case Triggered:
		return "triggered"
	case Failed:
		return "failed"
	}
	return "unknown"
}

// Occurrence is one time at which a schedule was due.
type Occurrence struct {
	Schedule string
	Planned  time.Time
	// Promoted is when its message was written, or when it was left out.
	Promoted time.Time
	Outcome  Outcome
	// ID of the message; empty: there is none.
	ID string
	// Missed is the number of occurrences before it that the misfire policy passed over; more than 10,000 are not counted on.
	Missed int
	// Note is for people.
	Note string
	// Local and Relayed say where the message went. They are how Fate can be known.
	Local, Relayed bool
	// Fate of the message, as far as this database knows.
	Fate Fate
}

// Fate of an occurrence's message.
type Fate string

const (
	FateNone    Fate = ""        // there is no message
	FateRelayed Fate = "relayed" // it goes to a broker, and this database does not know more
	FateWaiting Fate = "waiting" // its local consumer has not begun
	FateParked  Fate = "parked"  // it failed, and will be tried again
	FateDead    Fate = "dead"    // it failed, and will not
	FateHandled Fate = "handled"
)

// Remembered is how long it is known that a delayed message was promoted: then Cancel and Reschedule take its id for an unknown
// one. It bounds what they look through.
const Remembered = 24 * time.Hour

// HistoryStore is what happened, for people.
type HistoryStore interface {
	// Add enters an occurrence that somebody asked for.
	Add(ctx context.Context, tx sqltx.Tx, o Occurrence) error
	// Occurrences of a schedule, the latest first, planned before before (zero: all), at most limit.
	Occurrences(ctx context.Context, name string, before time.Time, limit int) ([]Occurrence, error)
	// Purge removes, at most limit of each kind, what is older than keep; that a delayed message was promoted is forgotten after
	// Remembered at the latest. Removed schedules go with their last occurrence.
	Purge(ctx context.Context, keep time.Duration, limit int) (int, error)
}
