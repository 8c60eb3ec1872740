package middleware

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Timeout ends the context of what is further in after d. It waits for the handler to return, so one that ignores its
// context is not cut short; when the handler then fails, the error says that it ran past d and wraps
// context.DeadlineExceeded. d must be positive.
func Timeout(d time.Duration) (sixfold.Middleware, error) {
	if d <= 0 {
		return nil, invalid("Timeout %v: give a positive time, or leave the middleware out", d)
	}
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			own, cancel := context.WithTimeoutCause(ctx, d, errPast)
			defer cancel()
			err := next(own, env)
			if err == nil || !errors.Is(context.Cause(own), errPast) || errors.Is(context.Cause(ctx), errPast) {
				return err
			}
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("middleware: handler of %.64q: it ran past %v and its context was cancelled: %w", typeOf(env), d, err)
			}
			return fmt.Errorf("middleware: handler of %.64q: it ran past %v and its context was cancelled (%w): %w", typeOf(env), d, context.DeadlineExceeded, err)
		}
	}, nil
}

// errPast is the cause of our own timeouts, told from a deadline of the caller's.
var errPast = errors.New("middleware: the timeout has passed")
