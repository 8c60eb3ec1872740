package middleware

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/sixfold-go/sixfold"
)

// RetryOptions of NewRetry. The zero value, and nil, mean the defaults.
type RetryOptions struct {
	// Attempts in all, 1 to 1000. Default 3.
	Attempts int
	// Backoff is the time between number attempt, which counts from 1, and the next. Nil: at random between a half and
	// the whole of 50 ms, doubled with each attempt, at most 5 s. A negative answer is no delay.
	Backoff func(attempt int) time.Duration
	// If chooses the errors after which another attempt makes sense. Nil: all but those that never are retried.
	If func(err error) bool
}

// NewRetry runs what is further in again when it fails, in the same goroutine, while the context lasts. It is meant for
// a mediator, or for a hiccup of a moment: a consumer has retries of its own, which keep the order of a key and survive a
// restart. A Permanent error, an open Breaker and sixfold.ErrNextTwice are never retried; after sixfold.RetryAfter it waits at
// least that long. When the wait would end after the deadline, it does not wait. The last error is the answer.
func NewRetry(opts *RetryOptions) (sixfold.Middleware, error) {
	var o RetryOptions
	if opts != nil {
		o = *opts
	}
	if o.Attempts == 0 {
		o.Attempts = 3
	}
	if o.Attempts < 1 || o.Attempts > 1000 {
		return nil, invalid("RetryOptions.Attempts %d: give 1 to 1000, or 0 for 3", o.Attempts)
	}
	if o.Backoff == nil {
		o.Backoff = doubled
	}
	return sixfold.Repeats(func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			for attempt := 1; ; attempt++ {
				err := next(ctx, env)
				if err == nil || attempt >= o.Attempts || !o.retries(err) {
					return err
				}
				delay := max(o.Backoff(attempt), 0)
				if d, ok := sixfold.RetryDelay(err); ok {
					delay = max(delay, d)
				}
				if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= delay || !sleep(ctx, delay) {
					return err
				}
			}
		}
	}), nil
}

func (o *RetryOptions) retries(err error) bool {
	if sixfold.IsPermanent(err) || errors.Is(err, sixfold.ErrNextTwice) || errors.Is(err, ErrOpen) {
		return false
	}
	return o.If == nil || o.If(err)
}

func doubled(attempt int) time.Duration {
	d := min(50*time.Millisecond<<min(attempt-1, 10), 5*time.Second)
	return d/2 + rand.N(d/2+1)
}
