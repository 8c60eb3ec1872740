package sixfold_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/sixfold-go/sixfold"
)

// times is a middleware that calls next n times, notes what it got, and answers the last of it as it is.
func times(n int, errs *[]error) sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			for range n {
				*errs = append(*errs, next(ctx, env))
			}
			return (*errs)[len(*errs)-1]
		}
	}
}

func plain(next sixfold.Handler) sixfold.Handler {
	return func(ctx context.Context, env *sixfold.Envelope) error { return next(ctx, env) }
}

type ctxMark struct{}

// marked hands on another context, as a timeout or a tracer does.
func marked(next sixfold.Handler) sixfold.Handler {
	return func(ctx context.Context, env *sixfold.Envelope) error {
		return next(context.WithValue(ctx, ctxMark{}, true), env)
	}
}

// guarantees: M3
func TestNextTwiceRunsNothing(t *testing.T) {
	for at := range 3 {
		t.Run(fmt.Sprint("middleware ", at), func(t *testing.T) {
			var errs []error
			mws := []sixfold.Middleware{plain, marked, plain}
			mws[at] = times(3, &errs)
			runs := 0
			h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return nil }, mws...)
			for call := 1; call <= 2; call++ { // each call is a pass of its own
				errs = nil
				err := h(t.Context(), &sixfold.Envelope{})
				if runs != call || !errors.Is(err, sixfold.ErrNextTwice) {
					t.Fatalf("call %d: %d runs, %v", call, runs, err)
				}
				if errs[0] != nil || !errors.Is(errs[1], sixfold.ErrNextTwice) || !errors.Is(errs[2], sixfold.ErrNextTwice) {
					t.Fatalf("call %d: %v", call, errs)
				}
			}
		})
	}
}

// guarantees: M3
func TestRepeatsMayCallNextAgain(t *testing.T) {
	var errs []error
	var calls []string
	note := func(s string) sixfold.Middleware {
		return func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				calls = append(calls, s)
				return next(ctx, env)
			}
		}
	}
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { calls = append(calls, "h"); return nil },
		note("a"), sixfold.Repeats(times(3, &errs)), marked, note("b"))
	if err := h(t.Context(), &sixfold.Envelope{}); err != nil {
		t.Error(err)
	}
	if got := strings.Join(calls, ""); got != "abhbhbh" {
		t.Errorf("calls %s", got)
	}
	if sixfold.Repeats(nil) != nil {
		t.Error("Repeats of nil is not nil")
	}
}

// guarantees: M3
func TestOnlyWhoDeclaresItRepeats(t *testing.T) {
	for name, c := range map[string]struct {
		outer, inner bool
		runs         int
	}{"both": {true, true, 4}, "outer": {true, false, 2}, "inner": {false, true, 2}, "none": {false, false, 1}} {
		t.Run(name, func(t *testing.T) {
			var outerErrs, innerErrs []error
			runs := 0
			mws := []sixfold.Middleware{times(2, &outerErrs), times(2, &innerErrs)}
			for i, repeats := range []bool{c.outer, c.inner} {
				if repeats {
					mws[i] = sixfold.Repeats(mws[i])
				}
			}
			err := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return nil }, mws...)(t.Context(), &sixfold.Envelope{})
			if runs != c.runs || errors.Is(err, sixfold.ErrNextTwice) != (c.runs < 4) {
				t.Errorf("%d runs, want %d: %v", runs, c.runs, err)
			}
		})
	}
}

// guarantees: M3
func TestNeverTwoAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		atOnce := sixfold.Repeats(func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				var all sync.WaitGroup
				errs := make([]error, 3)
				for i := range errs {
					all.Go(func() { errs[i] = next(ctx, env) })
				}
				all.Wait()
				if err := next(ctx, env); err != nil { // nothing runs any more: this is one after the other
					t.Error(err)
				}
				return errors.Join(errs...)
			}
		})
		var runs, now, most atomic.Int32
		open := make(chan struct{})
		h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error {
			runs.Add(1)
			most.Store(max(most.Load(), now.Add(1)))
			<-open
			now.Add(-1)
			return nil
		}, atOnce, plain)
		done := make(chan error)
		go func() { done <- h(t.Context(), &sixfold.Envelope{}) }()
		synctest.Wait()
		if n := runs.Load(); n != 1 {
			t.Errorf("%d run at once", n)
		}
		close(open)
		if err := <-done; !errors.Is(err, sixfold.ErrNextTwice) || runs.Load() != 2 || most.Load() != 1 {
			t.Errorf("%d runs, %v", runs.Load(), err)
		}
	})
}

// guarantees: M3
func TestNeverTwoAtATimeUnderStress(t *testing.T) {
	atOnce := sixfold.Repeats(func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 10 {
						_ = next(ctx, env)
					}
				})
			}
			all.Wait()
			return nil
		}
	})
	var now atomic.Int32
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error {
		if now.Add(1) > 1 {
			t.Error("two at a time")
		}
		runtime.Gosched()
		now.Add(-1)
		return nil
	}, plain, atOnce, plain)
	for range 2000 {
		if err := h(t.Context(), &sixfold.Envelope{}); err != nil || t.Failed() {
			t.Fatal(err)
		}
	}
}

// A middleware further out may turn a panic into an error and run the rest again.
func TestRepeatsAfterAPanic(t *testing.T) {
	again := sixfold.Repeats(func(next sixfold.Handler) sixfold.Handler {
		try := func(ctx context.Context, env *sixfold.Envelope) (err error) {
			defer func() {
				if recover() != nil {
					err = errors.New("panicked")
				}
			}()
			return next(ctx, env)
		}
		return func(ctx context.Context, env *sixfold.Envelope) error {
			if try(ctx, env) == nil {
				t.Error("no panic")
			}
			return try(ctx, env)
		}
	})
	runs := 0
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error {
		if runs++; runs == 1 {
			panic("first")
		}
		return nil
	}, again, plain)
	if err := h(t.Context(), &sixfold.Envelope{}); err != nil || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

// A chain in a chain has a pass of its own, whichever of them the context has met last.
func TestChainsInChains(t *testing.T) {
	var inner, outer []error
	runs := 0
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return nil }, plain, times(2, &inner))
	h = sixfold.Chain(h, plain, sixfold.Repeats(times(2, &outer)))
	_ = h(t.Context(), &sixfold.Envelope{})
	if runs != 2 || len(inner) != 4 || inner[0] != nil || !errors.Is(inner[1], sixfold.ErrNextTwice) || inner[2] != nil || !errors.Is(inner[3], sixfold.ErrNextTwice) {
		t.Errorf("%d runs, inner %v, outer %v", runs, inner, outer)
	}
}

// guarantees: M3
func TestCancelledContextStopsBeforeTheHandler(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	late := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			cancel()
			return next(ctx, env)
		}
	}
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { t.Error("the handler ran"); return nil }, plain, late, marked)
	if err := h(ctx, &sixfold.Envelope{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestChainOfAMiddlewareThatMakesNothing(t *testing.T) {
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { return nil }, plain, func(sixfold.Handler) sixfold.Handler { return nil })
	if err := h(t.Context(), &sixfold.Envelope{}); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), "number 2 of 2") {
		t.Error(err)
	}
}

type value struct{ m any }

func (v value) Message() any { return v.m }

func TestCarriedValueNeedsNoBody(t *testing.T) {
	env := &sixfold.Envelope{Type: placed{}.MessageName()}
	if none := (*sixfold.Envelope)(nil); env.Message() != nil || none.Message() != nil {
		t.Errorf("%v", env.Message())
	}
	want := placed{}
	env.Carry(value{want})
	got, err := sixfold.Decode[placed](t.Context(), env)
	if err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	again := *env // a middleware may hand on a copy
	if again.Message() != any(want) {
		t.Errorf("%v", again.Message())
	}
}

func TestHasResult(t *testing.T) {
	if sixfold.HasResult(placed{}) || !sixfold.HasResult(asked{}) || sixfold.HasResult(nil) {
		t.Error("only what embeds Returns has a result")
	}
}

type asked struct{ sixfold.Returns[int] }

func (asked) MessageName() string { return "asked" }

// What a context of another chain knows says nothing about this one.
func TestAContextOfAnotherChain(t *testing.T) {
	var outer context.Context
	keep := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			outer = ctx
			return next(ctx, env)
		}
	}
	giveOuter := func(next sixfold.Handler) sixfold.Handler {
		return func(_ context.Context, env *sixfold.Envelope) error { return next(outer, env) }
	}
	runs := 0
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return nil }, giveOuter, plain)
	if err := sixfold.Chain(h, keep, plain)(t.Context(), &sixfold.Envelope{}); err != nil || runs != 1 {
		t.Errorf("%d runs, %v", runs, err)
	}
}
