package sixfold

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Retry is what follows a failed attempt. In a consumer's options it is that of every route, in Route.Retrying that of one.
// A field that is zero means, in a route's, the consumer's; in a RetryClass, that of its Retry; else the default.
type Retry struct {
	// MaxAttempts for one message; after the last one it becomes a dead letter. 0: 16, which with the delays below takes a
	// quarter of an hour at least.
	MaxAttempts int
	// MinBackoff is the longest delay before the second attempt; it doubles with each one that fails, up to MaxBackoff. Each delay is at
	// random between a half and the whole. 0: 100 ms and 10 min.
	MinBackoff, MaxBackoff time.Duration
	// Backoff replaces both: the delay before the attempt that follows number attempt, which counts from 1. A negative
	// answer is no delay.
	Backoff func(attempt int) time.Duration
	// AfterDead says what becomes of the key of a dead letter. A consumer without a database always goes on.
	AfterDead AfterDead
	// Classes are errors with a policy of their own; the first that matches counts. The attempts are those of the message, whatever
	// they failed with.
	Classes []RetryClass
}

// RetryClass is the policy for some errors.
type RetryClass struct {
	// Matches reports whether the policy is for err. See ErrorIs.
	Matches func(err error) bool
	// Retry has no Classes of its own.
	Retry Retry
}

// AfterDead says what becomes of the key of a message that became a dead letter.
type AfterDead int

const (
	// HoldKey keeps the key closed, so that no later message takes effect before this one: what follows waits behind it until
	// somebody redrives or discards it. The default.
	HoldKey AfterDead = iota + 1
	// GoOn lets the later messages of the key take effect without it.
	GoOn
)

const (
	defaultAttempts   = 16
	defaultMinBackoff = 100 * time.Millisecond
	defaultMaxBackoff = 10 * time.Minute
)

// ErrorIs makes a RetryClass for errors that match target, as errors.Is says.
func ErrorIs(target error, r Retry) RetryClass {
	return RetryClass{Matches: func(err error) bool { return errors.Is(err, target) }, Retry: r}
}

// Or is r with what it leaves open taken from base.
func (r Retry) Or(base Retry) Retry {
	if r.MaxAttempts == 0 {
		r.MaxAttempts = base.MaxAttempts
	}
	if r.Backoff == nil && r.MinBackoff == 0 && r.MaxBackoff == 0 {
		r.Backoff = base.Backoff
	}
	switch { // a bound of its own counts for more than one of base
	case r.MinBackoff == 0 && r.MaxBackoff == 0:
		r.MinBackoff, r.MaxBackoff = base.MinBackoff, base.MaxBackoff
	case r.MinBackoff == 0:
		r.MinBackoff = min(base.MinBackoff, r.MaxBackoff)
	case r.MaxBackoff == 0 && base.MaxBackoff > 0:
		r.MaxBackoff = max(base.MaxBackoff, r.MinBackoff)
	}
	if r.AfterDead == 0 {
		r.AfterDead = base.AfterDead
	}
	if r.Classes == nil {
		r.Classes = base.Classes
	}
	return r
}

// defaults fills what is still open. A single bound is as good as both.
func (r Retry) defaults() Retry {
	if r.MinBackoff == 0 {
		r.MinBackoff = defaultMinBackoff
		if r.MaxBackoff > 0 {
			r.MinBackoff = min(r.MinBackoff, r.MaxBackoff)
		}
	}
	if r.MaxBackoff == 0 {
		r.MaxBackoff = max(defaultMaxBackoff, r.MinBackoff)
	}
	return r.Or(Retry{MaxAttempts: defaultAttempts, AfterDead: HoldKey})
}

// For is the policy for err, without anything left open.
func (r Retry) For(err error) Retry {
	for _, c := range r.Classes {
		if c.Matches != nil && c.Matches(err) {
			own := c.Retry
			own.Classes = []RetryClass{}
			return own.Or(r).defaults()
		}
	}
	return r.defaults()
}

// Delay is how long to wait after failed attempt number attempt, which counts from 1.
func (r Retry) Delay(attempt int) time.Duration {
	r = r.defaults()
	if r.Backoff != nil {
		return max(r.Backoff(attempt), 0)
	}
	return backoff(attempt, r.MinBackoff, r.MaxBackoff)
}

// backoff is at random between a half and the whole of base·2^(attempt-1), which is at most limit. The half is a floor that a
// full jitter lacks: an unlucky message would spend all its attempts within one outage.
func backoff(attempt int, base, limit time.Duration) time.Duration {
	whole := limit
	if n := max(attempt-1, 0); n < 62 && base<<n>>n == base { // else it overflowed
		whole = min(base<<n, limit)
	}
	if whole <= 1 {
		return max(whole, 0)
	}
	return whole/2 + rand.N(whole/2+1)
}

// Check says everything that is wrong with the policy.
func (r Retry) Check() error {
	errs := []error{r.checkOwn()}
	for i, c := range r.Classes {
		if c.Matches == nil {
			errs = append(errs, invalid("retry: class number %d matches nothing; give Matches, or make it with ErrorIs", i+1))
		}
		if len(c.Retry.Classes) > 0 {
			errs = append(errs, invalid("retry: class number %d has classes of its own; put them beside it", i+1))
		}
		errs = append(errs, c.Retry.checkOwn())
	}
	return errors.Join(errs...)
}

func (r Retry) checkOwn() error {
	var errs []error
	if r.MaxAttempts < 0 {
		errs = append(errs, invalid("retry: MaxAttempts %d: give 1 or more, or 0 for %d", r.MaxAttempts, defaultAttempts))
	}
	if r.MinBackoff < 0 || r.MaxBackoff < 0 {
		errs = append(errs, invalid("retry: MinBackoff %v, MaxBackoff %v: give positive times, or 0 for %v and %v", r.MinBackoff, r.MaxBackoff, defaultMinBackoff, defaultMaxBackoff))
	}
	if r.MaxBackoff > 0 && r.MinBackoff > r.MaxBackoff {
		errs = append(errs, invalid("retry: MinBackoff %v is longer than MaxBackoff %v; exchange them", r.MinBackoff, r.MaxBackoff))
	}
	if r.Backoff != nil && (r.MinBackoff != 0 || r.MaxBackoff != 0) {
		errs = append(errs, invalid("retry: Backoff and its bounds are both given; Backoff alone says how long to wait"))
	}
	if r.AfterDead < 0 || r.AfterDead > GoOn {
		errs = append(errs, invalid("retry: AfterDead %d: give HoldKey or GoOn", int(r.AfterDead)))
	}
	return errors.Join(errs...)
}
