package middleware

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
)

// ErrRateLimited says that a message's turn would come after its deadline.
var ErrRateLimited = errors.New("the rate limit is reached")

// RateOptions of a RateLimit.
type RateOptions struct {
	// PerSecond is how many handlings may begin each second, on average. Required, up to a billion; fractions are fine.
	PerSecond float64
	// Burst is how many may begin at once after a pause. Default 1.
	Burst int
}

// A RateLimit spaces handlings out, in this process. It may be shared by several routes, which then share the rate.
type RateLimit struct {
	every time.Duration // between two
	slack time.Duration // how far ahead of that a burst may be

	mu   sync.Mutex
	next time.Time // when the next one may begin, without a burst (GCRA's theoretical arrival time, ITU-T I.371)
}

// NewRateLimit says everything that is wrong with o.
func NewRateLimit(o RateOptions) (*RateLimit, error) {
	var errs []error
	if !(o.PerSecond > 1e-6 && o.PerSecond <= 1e9) { // written so that NaN is refused
		errs = append(errs, invalid("RateOptions.PerSecond %v: give more than a millionth and at most a billion", o.PerSecond))
	}
	if o.Burst == 0 {
		o.Burst = 1
	}
	if o.Burst < 1 || o.Burst > 1_000_000 {
		errs = append(errs, invalid("RateOptions.Burst %d: give 1 to 1,000,000, or 0 for 1", o.Burst))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	every := time.Duration(math.Ceil(float64(time.Second) / o.PerSecond))
	slack := time.Duration(o.Burst-1) * every
	if o.Burst > 1 && slack/time.Duration(o.Burst-1) != every {
		return nil, invalid("RateOptions: Burst %d at %v per second is more than 290 years; give less", o.Burst, o.PerSecond)
	}
	return &RateLimit{every: every, slack: slack}, nil
}

// Middleware waits for a message's turn, first come first served. When the turn would come after the context's deadline, it
// answers at once, with an error that wraps ErrRateLimited and by which a consumer counts no attempt and waits that long.
func (l *RateLimit) Middleware() sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			if err := l.wait(ctx, env); err != nil {
				return err
			}
			return next(ctx, env)
		}
	}
}

func (l *RateLimit) wait(ctx context.Context, env *sixfold.Envelope) error {
	now := time.Now()
	l.mu.Lock()
	turn := l.next.Add(-l.slack)
	if turn.Before(now) {
		turn = now
	}
	if deadline, ok := ctx.Deadline(); ok && turn.After(deadline) {
		l.mu.Unlock()
		d := turn.Sub(now)
		return sixfold.RetryAfter(d, &heldUp{kind: ErrRateLimited,
			text: fmt.Sprintf("middleware: %v for %.64q: its turn comes in %v, after the deadline; raise the rate, or send less", ErrRateLimited, typeOf(env), d)})
	}
	before := l.next
	if l.next.Before(now) {
		l.next = now
	}
	l.next = l.next.Add(l.every)
	own := l.next
	l.mu.Unlock()
	if !turn.After(now) || sleep(ctx, turn.Sub(now)) {
		return nil
	}
	l.mu.Lock()
	if l.next.Equal(own) { // nobody came behind: the turn goes back
		l.next = before
	}
	l.mu.Unlock()
	return fmt.Errorf("middleware: rate limit: the context ended while %.64q waited for its turn: %w", typeOf(env), ctx.Err())
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
