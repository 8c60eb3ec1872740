package inbox

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Limits of parking, beyond which its lane or its consumer stops taking.
const (
	// MaxLine is how many messages may wait in one line.
	MaxLine = 10_000
	// MaxParked is how many messages of one consumer may wait in all its lines.
	MaxParked = 100_000
)

var (
	// ErrLineFull says that MaxLine messages wait behind one key already.
	ErrLineFull = fmt.Errorf("inbox: %w behind one key; redrive or discard the first one", bus.ErrParkingFull)
	// ErrNotOurs says that the line was taken over from us, or the message is not in it any more.
	ErrNotOurs = errors.New("inbox: the parked messages are not ours any more")
)

// Parking is where messages wait, in the database of their consumer, that it could not handle yet, and where those stay
// that it never will. The messages of one key are a line, in the order in which they came to it, and a message without a
// key is a line of its own. Nobody runs the second one of a line before the first has left it. The transactions that
// the methods take are the caller's; without one they open short ones of their own.
type Parking interface {
	// Park enters items in their order, each at the end of its key's line, which begins with it if there is none. It waits
	// for other transactions that change the same lines. It answers for each row whether it was entered: not when it is
	// to be entered in the inbox (Item.Enter) and the inbox says that another copy was handled, parked or became dead. ErrLineFull
	// leaves the transaction unusable.
	Park(ctx context.Context, tx sqltx.Tx, consumer string, items []Item) ([]bool, error)
	// Claim takes over up to ask.Lines lines of consumer that are due.
	Claim(ctx context.Context, consumer string, ask Ask) (Claimed, error)
	// Take removes messages of claimed lines in the transaction of their handlers, records them as handled in the inbox,
	// and answers those that were still there and ours, in ascending order. A message that another transaction is taking
	// makes it wait for that one's end.
	Take(ctx context.Context, tx sqltx.Tx, ns []Ticket) ([]int64, error)
	// Fail puts down that an attempt at the first message of a claimed line failed, and gives the line back. ErrNotOurs
	// changes nothing. If an earlier message came to the line meanwhile, one that was redriven, that one is due now, and what
	// is Dead without being Loose becomes so in its turn. The newest 50 attempts of a message are kept.
	Fail(ctx context.Context, f Failed) error
	// Tend keeps lines for another hold, counted from now, and gives others back; it answers those of keep that are still
	// ours, in ascending order. A line that another transaction holds, one that parks behind it for example, is ours as long as
	// nobody else has it, and is kept at the next call, so that no line waits for another. Where Hold.Begins an
	// attempt at its first message is counted, and another transaction waited for. What is given back is due after Return.Delay; the attempt that
	// was counted so is taken off again, unless its message has left. A line without messages ends.
	Tend(ctx context.Context, keep []Hold, hold time.Duration, back []Return) ([]int64, error)
}

// Item is a message on its way into a line.
type Item struct {
	// Record is its place in the inbox.
	Record
	// Enter says that the inbox does not know the message, or counted attempts at most: it is entered there as parked or dead. Else
	// whoever calls has seen to that, or it needs none: a row of the local table is its own record.
	Enter bool

	ID, Source, Type, Topic string
	// Attrs are the other attributes, as outbox.EncodeAttrs writes them, and Body is nil or the bytes as they came.
	Attrs, Body []byte
	// Damaged says why the bytes could not be read as an envelope; empty: they could.
	Damaged string

	// Attempts so far, and Delay before the next one if it is the first of its line.
	Attempts int
	Delay    time.Duration
	// Dead: there is no other attempt. It keeps its key closed, as the first of its line, unless Loose; where its key has
	// a line already it waits in it like any other and Dead is decided when its turn comes. Without a key it is Loose. What is
	// Loose is a dead letter at once and never in a line, so that nothing runs it: a reused id has to be.
	Dead, Loose bool

	// Reason of a dead letter, as bus.DeadReason has it; Error is the error with all that it wraps, one line of at most 4 kB without a
	// NUL; empty when it only waits behind others. Node says where that was: host and process.
	Reason, Error, Node string
	// Also is done in the same transaction; its error takes all back. Nil: nothing.
	Also func(ctx context.Context, tx sqltx.Tx) error
}

// Ask is what a consumer can take.
type Ask struct {
	Token string        // a new UUID for each claim: the fence of its lines
	Lines int           // at most
	Rows  int           // of each line, at most
	Hold  time.Duration // how long they are ours
	Count bool          // answer Claimed.Waiting
}

// Claimed is the answer to an Ask.
type Claimed struct {
	Lines []Line
	// Next is the time until another line is due, or the claim of somebody else ends; 0 when it has passed, negative when
	// there is none.
	Next time.Duration
	// Waiting is the number of messages in all lines of the consumer, of those that are claimed or blocked too; -1 when
	// not counted.
	Waiting int
}

// Line is a line that was claimed, with its first messages.
type Line struct {
	ID    int64
	Token string
	// Suspect: whoever claimed it before did not give it back, so that its first message may have crashed a process.
	Suspect bool
	// Attempts at the first message so far: those that failed, and those of a suspect that did not come to an end.
	Attempts int
	Rows     []Waiting
}

// Waiting is a message in a line.
type Waiting struct {
	N       int64 // its number, in the order of the line
	Message [16]byte
	// ID, Topic and Key of the message; the other attributes are in Attrs.
	ID, Topic, Key string
	Attrs, Body    []byte
	Damaged        string
	Attempts       int // that failed
	// Epoch is how often it was redriven.
	Epoch int
}

// Ticket names a message of a claimed line.
type Ticket struct {
	N     int64
	Token string
}

// Hold names a claimed line.
type Hold struct {
	Line  int64
	Token string
	// Begins: an attempt at its first message is counted before it runs, since it may crash the process. Of a line that is
	// given back: such an attempt was counted, and did not fail.
	Begins bool
}

// Return gives a claimed line back.
type Return struct {
	Hold
	Delay time.Duration
}

// Failed is an attempt that failed. The fields that Item has too mean what they mean there.
type Failed struct {
	Hold
	N                   int64
	Attempts            int // so far, this one included
	Delay               time.Duration
	Dead, Loose         bool
	Reason, Error, Node string
	// Also is done in the same transaction; its error takes all back. Nil: nothing.
	Also func(ctx context.Context, tx sqltx.Tx) error
}
