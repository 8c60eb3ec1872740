package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/middleware"
)

var errDown = errors.New("connection refused")

// a dependency answers what it is told.
type dependency struct{ err error }

func (d *dependency) handle(context.Context, *sixfold.Envelope) error { return d.err }

func newBreaker(t *testing.T, o *middleware.BreakerOptions) *middleware.Breaker {
	t.Helper()
	b, err := middleware.NewBreaker("card service", o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// refusedBy checks that the breaker held a message up and asks to wait for d.
func refusedBy(t *testing.T, err error, d time.Duration) {
	t.Helper()
	got, _ := sixfold.RetryDelay(err)
	if !errors.Is(err, middleware.ErrOpen) || !errors.Is(err, bus.ErrUnavailable) || got != d || sixfold.IsPermanent(err) {
		t.Errorf("wait %v, want %v: %v", got, d, err)
	}
}

func TestBreakerPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var phases []string
		var b *middleware.Breaker
		b = newBreaker(t, &middleware.BreakerOptions{Failures: 3, ProbeAfter: 10 * time.Second, MaxProbeAfter: 30 * time.Second, Changed: func(s middleware.BreakerState) {
			phases = append(phases, s.Phase.String())
			if b.State().Phase != s.Phase || s.Name != "card service" {
				t.Errorf("%v, the state is %v", s, b.State())
			}
		}})
		d := &dependency{errDown}
		runs := 0
		h := sixfold.Chain(func(ctx context.Context, env *sixfold.Envelope) error { runs++; return d.handle(ctx, env) }, b.Middleware())
		call := func() error { return h(t.Context(), &sixfold.Envelope{Type: "pay"}) }
		other := sixfold.Chain(d.handle, b.Middleware()) // shares it

		for range 2 {
			if err := call(); err != errDown {
				t.Errorf("closed, and the error is not the handler's: %v", err)
			}
		}
		d.err = nil
		_ = call() // in a row means in a row
		d.err = errDown
		_, _ = call(), call()
		if s := b.State(); s.Phase != middleware.Closed || s.Failures != 2 || s.Err != errDown || !s.ProbeAt.IsZero() {
			t.Errorf("%+v", s)
		}
		err := other(t.Context(), &sixfold.Envelope{})
		refusedBy(t, err, 10*time.Second) // the third: it is the outage's already
		if !errors.Is(err, errDown) || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("the cause is lost: %v", err)
		}
		start := time.Now()
		if s := b.State(); s.Phase != middleware.Open || !s.ProbeAt.Equal(start.Add(10*time.Second)) || !s.Since.Equal(start) {
			t.Errorf("%+v", s)
		}
		time.Sleep(4 * time.Second)
		runs = 0
		refusedBy(t, call(), 6*time.Second)
		time.Sleep(6 * time.Second)
		refusedBy(t, call(), 20*time.Second) // a probe that fails
		time.Sleep(20 * time.Second)
		refusedBy(t, call(), 30*time.Second)
		time.Sleep(30 * time.Second)
		refusedBy(t, call(), 30*time.Second)
		if runs != 3 {
			t.Errorf("%d probes", runs)
		}
		time.Sleep(time.Hour)
		d.err = nil
		if err := call(); err != nil || b.State().Phase != middleware.Closed || b.State().Failures != 0 || b.State().Err != nil {
			t.Errorf("%v, %+v", err, b.State())
		}
		d.err = errDown
		if _, _, err := call(), call(), call(); !errors.Is(err, middleware.ErrOpen) {
			t.Error(err)
		}
		if s := b.State(); !s.ProbeAt.Equal(time.Now().Add(10 * time.Second)) {
			t.Errorf("the wait did not begin again: %+v", s)
		}
		want := []string{"open", "half open", "open", "half open", "open", "half open", "open", "half open", "closed", "open"}
		if !slices.Equal(phases, want) {
			t.Errorf("%q", phases)
		}
	})
}

func TestBreakerProbesOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, &middleware.BreakerOptions{Failures: 1})
		open := make(chan error)
		h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { return <-open }, b.Middleware())
		call := func() chan error {
			done := make(chan error, 1)
			go func() { done <- h(t.Context(), &sixfold.Envelope{}) }()
			synctest.Wait()
			return done
		}
		early := call() // begins while it is closed
		first := call()
		open <- errDown
		time.Sleep(10 * time.Second)
		probe := call()
		refusedBy(t, <-call(), time.Second) // meanwhile
		if b.State().Phase != middleware.HalfOpen {
			t.Errorf("%+v", b.State())
		}
		open <- errDown // of early or of the probe
		synctest.Wait()
		open <- nil
		synctest.Wait()
		for _, c := range []chan error{early, first, probe} {
			select {
			case err := <-c:
				if err != nil {
					if !errors.Is(err, middleware.ErrOpen) {
						t.Errorf("a failure while it was not closed: %v", err)
					}
				}
			default:
				t.Error("still running")
			}
		}
	})
}

// Who began before it opened says nothing of it any more, but loses no attempt either.
func TestBreakerStaleAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, &middleware.BreakerOptions{Failures: 1})
		answers := []chan error{make(chan error), make(chan error), make(chan error)}
		i := 0
		h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { i++; return <-answers[i-1] }, b.Middleware())
		results := make([]error, 3)
		for j := range results {
			go func() { results[j] = h(t.Context(), &sixfold.Envelope{}) }()
			synctest.Wait()
		}
		answers[0] <- errDown // opens it
		answers[1] <- nil     // does not close it
		synctest.Wait()
		if s := b.State(); s.Phase != middleware.Open || s.Failures != 1 || s.Err != errDown || results[1] != nil {
			t.Errorf("%+v, %v", b.State(), results[1])
		}
		probeAt := b.State().ProbeAt
		time.Sleep(time.Second)
		answers[2] <- errDown // does not put off the probe
		synctest.Wait()
		refusedBy(t, results[2], 9*time.Second)
		if !b.State().ProbeAt.Equal(probeAt) {
			t.Errorf("%+v", b.State())
		}
	})
}

func TestBreakerKnowsWhatIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine := errors.New("mine")
		b := newBreaker(t, &middleware.BreakerOptions{Failures: 1, IsFailure: func(err error) bool { return !errors.Is(err, mine) }})
		d := &dependency{}
		h := sixfold.Chain(d.handle, b.Middleware())
		cancelled, cancel := context.WithCancel(t.Context())
		late := sixfold.Chain(func(ctx context.Context, _ *sixfold.Envelope) error { cancel(); return ctx.Err() }, b.Middleware())
		neutral := func() {
			t.Helper()
			for _, d.err = range []error{sixfold.Permanent(errDown), mine, fmt.Errorf("because: %w", mine)} {
				if err := h(t.Context(), &sixfold.Envelope{}); err != d.err {
					t.Errorf("%v became %v", d.err, err)
				}
			}
			if err := late(cancelled, &sixfold.Envelope{}); !errors.Is(err, context.Canceled) || errors.Is(err, middleware.ErrOpen) {
				t.Error(err)
			}
		}
		neutral()
		if s := b.State(); s.Phase != middleware.Closed || s.Failures != 0 {
			t.Errorf("%+v", s)
		}
		d.err = context.DeadlineExceeded
		refusedBy(t, h(t.Context(), &sixfold.Envelope{}), 10*time.Second)
		time.Sleep(10 * time.Second)
		d.err = mine
		if err := h(t.Context(), &sixfold.Envelope{}); err != mine || b.State().Phase != middleware.HalfOpen {
			t.Errorf("%v, %+v", err, b.State())
		}
		d.err = nil
		if err := h(t.Context(), &sixfold.Envelope{}); err != nil || b.State().Phase != middleware.Closed { // the place of the probe was free again
			t.Errorf("%v, %+v", err, b.State())
		}
	})
}

func TestBreakerCountsPanics(t *testing.T) {
	b := newBreaker(t, &middleware.BreakerOptions{Failures: 2})
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { panic("x") }, middleware.Recover(), b.Middleware())
	for range 2 {
		var p *sixfold.PanicError
		if err := h(t.Context(), &sixfold.Envelope{Type: "pay"}); !errors.As(err, &p) || p.Value != "x" {
			t.Error(err)
		}
	}
	if err := h(t.Context(), &sixfold.Envelope{}); !errors.Is(err, middleware.ErrOpen) {
		t.Error(err)
	}
}

func TestBreakerOptions(t *testing.T) {
	_, err := middleware.NewBreaker("", &middleware.BreakerOptions{Failures: -1, ProbeAfter: time.Hour, MaxProbeAfter: time.Minute})
	if !errors.Is(err, sixfold.ErrInvalid) || strings.Count(err.Error(), "\n") != 2 {
		t.Error(err)
	}
	if b, err := middleware.NewBreaker("x", &middleware.BreakerOptions{ProbeAfter: time.Hour}); err != nil || b.State().Phase != middleware.Closed {
		t.Error(err)
	}
	if s := fmt.Sprint(middleware.Closed, middleware.Phase(9)); s != "closed Phase(9)" {
		t.Error(s)
	}
}
