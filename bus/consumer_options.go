package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Ack says when a Consumer acknowledges a message.
type Ack int

const (
	// AckAfterHandling acknowledges when the handler has succeeded or the dead letter is confirmed: at least once.
	AckAfterHandling Ack = iota
	// AckOnReceipt acknowledges before the handler begins: at most once. A handler that fails is still retried in
	// memory and ends as a dead letter, but a crash loses what was received. The order of a key is not kept where
	// an acknowledgement fails.
	AckOnReceipt
	// AckNever settles nothing: a look at messages that stay where they are. After Subscription.MaxInFlight of them no
	// more are received, and all of them come again when the consumer stops. Failures are logged, never retried.
	AckNever
)

// Options of a Consumer. The zero value, and nil, mean the defaults.
type Options struct {
	// Inbox counts in the consumer's own database what may have crashed a process before; package inbox makes one. Nil:
	// that of the routes. Without any, attempts live in memory, and a message that crashes the process comes again for ever.
	Inbox Inbox
	// DeadLetters is where a consumer without an Inbox sends dead letters; one with an Inbox keeps them in its database.
	// Nil: the transport itself. It must be given where the Subscriber is no Transport, or where its broker does not confirm.
	DeadLetters Opener

	// Concurrency is how many handlers run at once, at most 10,000. 0: 16, since handlers wait for databases more than
	// they compute. Messages of one key never run at once, whatever it is.
	Concurrency int
	// Retry is what follows a failed attempt, where a route does not say. With an Inbox the message waits in its database,
	// and what comes for its key waits behind it, also beyond a restart; without one it waits in memory.
	Retry sixfold.Retry
	// HandlerTimeout after which a handler's context is cancelled. 0: 30 s.
	HandlerTimeout time.Duration
	// DrainTimeout is how long Run waits, when it is told to stop, for handlers and settlements. Then it cancels the
	// handlers and returns a *sixfold.DrainError a moment later. 0: 10 s.
	DrainTimeout time.Duration
	// Ack says when messages are acknowledged.
	Ack Ack
	// ParkingLease is how long messages that waited in the database are this process's before another one may take them
	// over. It is renewed while their handlers run. 0: 15 s, at least 200 ms.
	ParkingLease time.Duration
	// ParkingPoll is the longest time between two looks at what waits in the database. What failed in this process is
	// known to be due. 0: 1 s.
	ParkingPoll time.Duration
	// MaxParked is how many messages may wait in the database, for another attempt or behind one; with as many the consumer
	// receives no more, and Health says so. 0: 100,000.
	MaxParked int
	// Verify says who signed a message, or why it is not accepted; package signature has one. It is asked before the first attempt at
	// what came from a broker. A message that it refuses becomes a dead letter without a handler, with the reason
	// "unauthorised"; of one that it accepts the inbox records the issuer in place of the source that it claims. What lies in the
	// consumer's own database is not asked about: messages for local consumers, and what was accepted before it was parked.
	// Its error must name no payload. Nil: every message is accepted, and has no issuer.
	Verify func(env *sixfold.Envelope) (issuer string, err error)
	// MaxBody in bytes; a message with a larger body becomes a dead letter without a handler. 0: no limit of its own.
	MaxBody int

	// Middleware wraps every handler, outside of what the routes have of their own; the first is the outermost. Since
	// it shall see every message, a consumer with Middleware calls no batch handlers.
	Middleware []sixfold.Middleware
	// Codecs for content types other than JSON.
	Codecs []sixfold.Codec
	// Logger for failures and changes of state; never bodies. Nil: slog.Default.
	Logger *slog.Logger
	// Hooks observe.
	Hooks Hooks
}

// Hooks observe a Consumer. Each may be nil; they are called by many goroutines at once, and what they take is taken
// from the handlers.
type Hooks struct {
	// Handled is called after each attempt, with its number and what the handler answered; once for each message of a
	// batch that succeeded.
	Handled func(d *Delivery, attempt int, took time.Duration, err error)
	// Parked is called when a message that failed was put down in the database, before it is acknowledged: how many attempts it had, and
	// the delay before the next one.
	Parked func(d *Delivery, attempts int, delay time.Duration, err error)
	// Dead is called when a dead letter is confirmed, before the message is acknowledged.
	Dead func(d *Delivery, reason string, err error)
	// State is called when the consumer's state changes.
	State func(State)
}

// Opener is the part of a Transport that dead letters need.
type Opener interface {
	Open(ctx context.Context) (Sender, error)
}

// DropDeadLetters is an Opener that takes dead letters and forgets them: they are in the log and nowhere else. It is
// meant for consumers whose messages are worthless a moment later.
func DropDeadLetters() Opener { return dropper{} }

type dropper struct{}

func (dropper) Open(context.Context) (Sender, error) { return dropper{}, nil }
func (dropper) Close(context.Context) error          { return nil }
func (dropper) Send(_ context.Context, batch []Outgoing) Pending {
	return dropped(len(batch))
}

type dropped int

func (n dropped) Wait(context.Context) []error { return make([]error, n) }

// minParkingLease leaves time for a renewal every third of it.
const minParkingLease = 200 * time.Millisecond

// withDefaults is a copy of o in which nothing is zero that has a default.
func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Concurrency = orElse(out.Concurrency, 16)
	out.ParkingLease = orElse(out.ParkingLease, 15*time.Second)
	out.ParkingPoll = orElse(out.ParkingPoll, time.Second)
	out.MaxParked = orElse(out.MaxParked, 100_000)
	out.HandlerTimeout = orElse(out.HandlerTimeout, 30*time.Second)
	out.DrainTimeout = orElse(out.DrainTimeout, 10*time.Second)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	return out
}

func orElse[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// check names everything that is wrong with o.
func (o *Options) check(s Subscription) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("bus: consumer options: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...))
	}
	if o.Concurrency < 1 || o.Concurrency > 10_000 {
		bad("Concurrency %d: give 1 to 10,000, or 0 for 16", o.Concurrency)
	}
	if err := o.Retry.Check(); err != nil {
		errs = append(errs, fmt.Errorf("bus: consumer options: %w", err))
	}
	if o.ParkingLease < minParkingLease {
		bad("ParkingLease %v: give at least %v, or 0 for 15s", o.ParkingLease, minParkingLease)
	}
	if o.ParkingPoll < 0 {
		bad("ParkingPoll %v: give a positive time, or 0 for 1s", o.ParkingPoll)
	}
	if o.MaxParked < 1 {
		bad("MaxParked %d: give 1 or more, or 0 for 100,000", o.MaxParked)
	}
	if o.HandlerTimeout < 0 {
		bad("HandlerTimeout %v: give a positive time, or 0 for 30s", o.HandlerTimeout)
	}
	if o.DrainTimeout < 0 {
		bad("DrainTimeout %v: give a positive time, or 0 for 10s", o.DrainTimeout)
	}
	if o.MaxBody < 0 {
		bad("MaxBody %d: give a number of bytes, or 0 for no limit", o.MaxBody)
	}
	if o.Ack < AckAfterHandling || o.Ack > AckNever {
		bad("Ack %d: give AckAfterHandling, AckOnReceipt or AckNever", int(o.Ack))
	}
	if o.Inbox != nil && o.Ack != AckAfterHandling {
		bad("Ack: an Inbox makes effects happen once of what comes at least once; use AckAfterHandling")
	}
	if o.Inbox != nil && o.DeadLetters != nil && o.Inbox.Parking() != nil {
		bad("DeadLetters: with an Inbox they are kept in its database, where they can be looked at and redriven; leave DeadLetters out")
	}
	if o.Inbox != nil && s.Group == "" {
		bad("Inbox: it records by the consumer's name, which is the subscription's Group; name the group")
	}
	for i, m := range o.Middleware {
		if m == nil {
			bad("Middleware number %d: it is nil; leave it out", i+1)
		}
	}
	for i, c := range o.Codecs {
		if c == nil {
			bad("Codecs number %d: it is nil; leave it out", i+1)
		}
	}
	return errors.Join(errs...)
}
