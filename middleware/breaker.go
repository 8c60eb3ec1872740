package middleware

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
)

// ErrOpen says that a Breaker did not let a message pass, or that it failed while the breaker was not closed.
var ErrOpen = errors.New("the circuit breaker is open")

// BreakerOptions of a Breaker. The zero value, and nil, mean the defaults.
type BreakerOptions struct {
	// Failures in a row, of any messages, after which the breaker opens, 1 to 1,000,000. Default 5.
	Failures int
	// ProbeAfter is the time from opening to the first probe; each probe that fails doubles it, up to MaxProbeAfter.
	// Defaults 10 s and 1 min.
	ProbeAfter, MaxProbeAfter time.Duration
	// IsFailure chooses the errors that speak of the dependency. Nil: all. A Permanent error never is one, nor is the
	// error of a handler whose context was cancelled; a deadline that passed may be one.
	IsFailure func(err error) bool
	// Changed observes each change of the phase, in order, one call at a time. It may ask State.
	Changed func(BreakerState)
}

// A Breaker stops calling handlers when a dependency of theirs is away, and tries from time to time whether it is back. It
// may be shared by the routes that need the same dependency.
//
// After Failures failures in a row it is open: it answers at once, with an error that wraps ErrOpen and bus.ErrUnavailable
// and asks to wait until the next probe. A consumer counts no attempt for that and dead-letters nothing. Then it is half
// open: one message at a time goes to its handler. A success closes the breaker; a failure opens it again, and is no
// attempt either, as are the failures of handlers that had begun before. So of an outage, however long, at most Failures-1
// attempts are counted in all.
//
// A message that always fails by its own fault and is alone at the consumer keeps the breaker open: let its handler answer
// sixfold.Permanent, or choose by IsFailure.
type Breaker struct {
	name string
	o    BreakerOptions

	mu       sync.Mutex
	phase    Phase
	since    time.Time
	failures int // in a row
	probes   int // that failed in a row
	probeAt  time.Time
	probing  bool
	epoch    int // grows with each change of phase
	last     error
	changes  []BreakerState // not told yet
	telling  bool
}

// Phase of a Breaker.
type Phase int

const (
	// Closed lets everything pass.
	Closed Phase = iota
	// Open lets nothing pass.
	Open
	// HalfOpen lets one message at a time pass.
	HalfOpen
)

func (p Phase) String() string {
	switch p {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half open"
	}
	return fmt.Sprintf("Phase(%d)", int(p))
}

// BreakerState is what is known of a Breaker.
type BreakerState struct {
	Name  string
	Phase Phase
	Since time.Time // of the phase
	// Failures in a row while it was closed.
	Failures int
	// ProbeAt is when the next probe may run; zero while it is closed.
	ProbeAt time.Time
	// Err is the last failure; nil since the last success.
	Err error
}

// NewBreaker makes a closed Breaker. Its name is for people. Errors say everything that is wrong with opts.
func NewBreaker(name string, opts *BreakerOptions) (*Breaker, error) {
	b := &Breaker{name: name, since: time.Now()}
	if opts != nil {
		b.o = *opts
	}
	o := &b.o
	if o.Failures == 0 {
		o.Failures = 5
	}
	if o.ProbeAfter == 0 {
		o.ProbeAfter = 10 * time.Second
	}
	if o.MaxProbeAfter == 0 {
		o.MaxProbeAfter = max(time.Minute, o.ProbeAfter)
	}
	var errs []error
	if name == "" {
		errs = append(errs, invalid("breaker: the name is empty; name what it protects, like \"card service\""))
	}
	if o.Failures < 1 || o.Failures > 1_000_000 {
		errs = append(errs, invalid("BreakerOptions.Failures %d: give 1 to 1,000,000, or 0 for 5", o.Failures))
	}
	if o.ProbeAfter < time.Millisecond || o.ProbeAfter > o.MaxProbeAfter || o.MaxProbeAfter > 24*time.Hour {
		errs = append(errs, invalid("BreakerOptions: ProbeAfter %v and MaxProbeAfter %v: give at least 1 ms, and up to a day, the second not below the first", o.ProbeAfter, o.MaxProbeAfter))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return b, nil
}

// State answers what is known now. It is cheap enough for a probe each second. An open breaker changes its phase only when
// a message comes.
func (b *Breaker) State() BreakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.state()
}

func (b *Breaker) state() BreakerState {
	s := BreakerState{Name: b.name, Phase: b.phase, Since: b.since, Failures: b.failures, Err: b.last}
	if b.phase != Closed {
		s.ProbeAt = b.probeAt
	}
	return s
}

// Middleware lets messages pass, or does not. All that it makes share the breaker.
func (b *Breaker) Middleware() sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) (err error) {
			probe, epoch, err := b.enter()
			if err != nil {
				return err
			}
			returned := false
			defer func() {
				if !returned { // a panic goes on, or the goroutine ends
					_ = b.leave(probe, epoch, errUnknown, false)
				}
			}()
			err = next(ctx, env)
			returned = true
			cancelled := errors.Is(ctx.Err(), context.Canceled)
			return b.leave(probe, epoch, err, cancelled)
		}
	}
}

var errUnknown = errors.New("the handler panicked or ended its goroutine")

// enter asks to pass.
func (b *Breaker) enter() (probe bool, epoch int, err error) {
	defer b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	switch {
	case b.phase == Closed:
		return false, b.epoch, nil
	case b.phase == Open && now.Before(b.probeAt):
		return false, 0, b.held(b.probeAt.Sub(now), nil)
	case b.phase == Open:
		b.become(HalfOpen, now)
	case b.probing:
		return false, 0, b.held(b.meanwhile(), nil)
	}
	b.probing = true
	return true, b.epoch, nil
}

// meanwhile is how long others wait while a probe runs.
func (b *Breaker) meanwhile() time.Duration {
	return min(max(b.o.ProbeAfter/10, time.Millisecond), time.Second)
}

// leave notes how a handling ended and answers what becomes of its error.
func (b *Breaker) leave(probe bool, epoch int, err error, cancelled bool) error {
	defer b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	neutral := err != nil && (cancelled || sixfold.IsPermanent(err) || b.o.IsFailure != nil && !b.o.IsFailure(err))
	if probe {
		b.probing = false
	}
	switch {
	case neutral:
		return err
	case err == nil && epoch == b.epoch:
		b.failures, b.last = 0, nil
		if b.phase == HalfOpen {
			b.probes = 0
			b.become(Closed, now)
		}
		return nil
	case err == nil:
		return nil // it began in another phase and says nothing of this one
	}
	if epoch == b.epoch {
		b.last = err
		if probe {
			b.probes++
			b.open(now)
		} else if b.failures++; b.failures >= b.o.Failures {
			b.open(now)
		}
	}
	if b.phase == Closed {
		return err
	}
	return b.held(max(b.probeAt.Sub(now), b.meanwhile()), err)
}

// open opens the breaker until the next probe. b is locked.
func (b *Breaker) open(now time.Time) {
	wait := b.o.ProbeAfter
	for range b.probes {
		if wait *= 2; wait >= b.o.MaxProbeAfter {
			wait = b.o.MaxProbeAfter
			break
		}
	}
	b.probeAt = now.Add(wait)
	b.become(Open, now)
}

func (b *Breaker) become(p Phase, now time.Time) {
	b.phase, b.since = p, now
	b.epoch++
	if b.o.Changed != nil {
		b.changes = append(b.changes, b.state())
	}
}

// held is the error of what the outage holds up, for d at least. b is locked.
func (b *Breaker) held(d time.Duration, cause error) error {
	text := fmt.Sprintf("middleware: breaker %.64q: %v after %d failures in a row; the next try is in %v", b.name, ErrOpen, b.failures, d.Round(time.Millisecond))
	if own, ok := sixfold.RetryDelay(cause); ok {
		d = max(d, own)
	}
	return sixfold.RetryAfter(d, &heldUp{text: text, kind: ErrOpen, cause: cause})
}

// tell tells the changes, in their order. One goroutine does it for all; b is not locked meanwhile.
func (b *Breaker) tell() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.telling {
		return
	}
	b.telling = true
	defer func() { b.telling = false }()
	for len(b.changes) > 0 {
		change := b.changes[0]
		b.changes = b.changes[1:]
		func() {
			b.mu.Unlock()
			defer b.mu.Lock()
			b.o.Changed(change)
		}()
	}
}
