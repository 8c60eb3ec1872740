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
	// DeadLetters is where dead letters go. Nil: the transport itself. It must be given where the Subscriber is no
	// Transport, or where its broker does not confirm.
	DeadLetters Opener

	// Concurrency is how many handlers run at once, at most 10,000. 0: 16, since handlers wait for databases more than
	// they compute. Messages of one key never run at once, whatever it is.
	Concurrency int
	// MaxAttempts of a handler for one message; after the last one it becomes a dead letter. 0: 10.
	MaxAttempts int
	// Backoff is the delay before the attempt that follows number attempt, which counts from 1. Nil: at random between
	// a half and the whole of 100 ms, doubled with each attempt, at most a minute. A negative answer is no delay.
	Backoff func(attempt int) time.Duration
	// HandlerTimeout after which a handler's context is cancelled. 0: 30 s.
	HandlerTimeout time.Duration
	// DrainTimeout is how long Run waits, when it is told to stop, for handlers and settlements. Then it cancels the
	// handlers and returns a *sixfold.DrainError a moment later. 0: 10 s.
	DrainTimeout time.Duration
	// Ack says when messages are acknowledged.
	Ack Ack
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

// withDefaults is a copy of o in which nothing is zero that has a default.
func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.Concurrency = orElse(out.Concurrency, 16)
	out.MaxAttempts = orElse(out.MaxAttempts, 10)
	out.HandlerTimeout = orElse(out.HandlerTimeout, 30*time.Second)
	out.DrainTimeout = orElse(out.DrainTimeout, 10*time.Second)
	if out.Backoff == nil {
		out.Backoff = func(attempt int) time.Duration { return exponential(attempt, 100*time.Millisecond, time.Minute) }
	}
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
	if o.MaxAttempts < 1 {
		bad("MaxAttempts %d: give 1 or more, or 0 for 10", o.MaxAttempts)
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
