package sixfold

import (
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

type permanent struct{ err error }

func (p permanent) Error() string { return p.err.Error() }
func (p permanent) Unwrap() error { return p.err }

// Permanent marks err as not worth another attempt: the message becomes a dead letter at once. Nil stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return permanent{err}
}

// IsPermanent reports whether err or an error it wraps was marked by Permanent.
func IsPermanent(err error) bool { return errors.As(err, new(permanent)) }

type retryAfter struct {
	err error
	d   time.Duration
}

func (r retryAfter) Error() string { return r.err.Error() }
func (r retryAfter) Unwrap() error { return r.err }

// RetryAfter marks err so that the next attempt waits at least d, whatever the retry policy says. The failed
// attempt counts. Nil stays nil; a negative d is zero.
func RetryAfter(d time.Duration, err error) error {
	if err == nil {
		return nil
	}
	return retryAfter{err, max(d, 0)}
}

// RetryDelay is the delay that RetryAfter put on err.
func RetryDelay(err error) (time.Duration, bool) {
	var r retryAfter
	if !errors.As(err, &r) {
		return 0, false
	}
	return r.d, true
}

// ErrDrainTimeout is what Run methods return (as a *DrainError) when something is in doubt after a stop: work was still in
// flight at the end of the drain limit, or, with a Cause, nobody could settle it before.
var ErrDrainTimeout = errors.New("the drain limit passed with work in flight")

// A DrainError says what is in doubt after a stop. It matches ErrDrainTimeout, and its Cause where it has one.
type DrainError struct {
	// What stopped ("relay", "consumer shipping").
	What string
	// InDoubt counts messages that were sent and not confirmed, or handed to a handler that did not return. Each
	// will come again, so that its effect happens once, although it may be sent or invoked twice.
	InDoubt int
	// After is the drain limit.
	After time.Duration
	// Cause is why nobody can say before the limit: an outage took the confirms, or another process took the work over. nil: the
	// limit passed.
	Cause error
}

func (e *DrainError) Error() string {
	if e.Cause != nil {
		return fmt.Sprintf("sixfold: stop %s: %d messages are in doubt, which will be delivered again: %v", e.What, e.InDoubt, e.Cause)
	}
	return fmt.Sprintf("sixfold: stop %s: %v after %v with %d messages in doubt; they will be delivered again (raise DrainTimeout above the longest handler or send)",
		e.What, ErrDrainTimeout, e.After, e.InDoubt)
}

// Is matches ErrDrainTimeout.
func (e *DrainError) Is(target error) bool { return target == ErrDrainTimeout }

// Unwrap answers Cause.
func (e *DrainError) Unwrap() error { return e.Cause }

// ErrInvalid marks an argument or a value that breaks a rule; the text says which and how to mend it.
var ErrInvalid = errors.New("invalid")

// quote shows at most 64 bytes of s, with control characters escaped.
func quote(s string) string {
	if len(s) <= 64 {
		return strconv.Quote(s)
	}
	cut := 61
	for cut > 61-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut]) + "…"
}
