package request

import (
	"context"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold"
)

// Errors of a call. They are told apart with errors.Is; what a responder says is a *Fault.
var (
	// ErrTimeout says that the deadline passed. It is not known whether the handler ran, or still will. It comes with
	// context.DeadlineExceeded.
	ErrTimeout = errors.New("the deadline passed before a reply came; it is not known whether the handler ran")
	// ErrCancelled says that the caller's context was cancelled. It comes with context.Canceled. It is not known whether the
	// handler ran; its context is ended where the lane can.
	ErrCancelled = errors.New("the call was cancelled; it is not known whether the handler ran")
	// ErrAtCapacity says that as many calls as allowed wait already. Nothing was sent.
	ErrAtCapacity = errors.New("too many calls wait for replies; nothing was sent: wait, or raise ClientOptions.MaxInFlight")
	// ErrClosed says that the client was closed before the reply came, or before the call began.
	ErrClosed = errors.New("the client was closed")
	// ErrLost says that the connection was lost with the call in flight. It is not known whether the handler ran.
	ErrLost = errors.New("the connection was lost before a reply came; it is not known whether the handler ran")
	// ErrNoResponder says that nobody listens at the destination: the handler did not run.
	ErrNoResponder = errors.New("nobody listens at the destination; start a responder, or look at the destination's name")
	// ErrEncode says that the message could not be encoded: nothing was sent.
	ErrEncode = errors.New("the message cannot be encoded; nothing was sent")
	// ErrDecode says that the reply could not be decoded: the handler did run, so do not just ask again.
	ErrDecode = errors.New("the reply cannot be decoded, though the handler has run")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("request: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...)
}

// errTimedOut is the outcome of a call whose deadline has passed.
var errTimedOut = fmt.Errorf("%w (%w)", ErrTimeout, context.DeadlineExceeded)

// ended is the outcome of a call whose context has ended.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%w (%w)", ErrCancelled, context.Canceled)
	}
	return errTimedOut
}

// about says which call an outcome belongs to.
func about(name, to string, err error) error {
	if name == to {
		return fmt.Errorf("request: %.64q: %w", name, err)
	}
	return fmt.Errorf("request: %.64q to %.64q: %w", name, to, err)
}
