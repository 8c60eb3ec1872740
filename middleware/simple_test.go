package middleware_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/mediator"
	"github.com/sixfold-go/sixfold/middleware"
)

func answers(err error) sixfold.Handler {
	return func(context.Context, *sixfold.Envelope) error { return err }
}

// must is for what the test does not ask about.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestRecover(t *testing.T) {
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { panic(io.ErrUnexpectedEOF) }, middleware.Recover())
	err := h(t.Context(), &sixfold.Envelope{Type: "pay"})
	var p *sixfold.PanicError
	if !errors.As(err, &p) || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(string(p.Stack), "simple_test.go") || strings.Contains(err.Error(), ".go:") {
		t.Error(err)
	}
	if err := sixfold.Chain(answers(errDown), middleware.Recover())(t.Context(), nil); err != errDown {
		t.Error(err)
	}
}

// guarantees: I9
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		obeys := func(ctx context.Context, _ *sixfold.Envelope) error { <-ctx.Done(); return ctx.Err() }
		blames := func(ctx context.Context, _ *sixfold.Envelope) error { <-ctx.Done(); return errDown }
		ignores := func(context.Context, *sixfold.Envelope) error { time.Sleep(time.Minute); return nil }
		second := must(middleware.Timeout(time.Second))
		for _, h := range []sixfold.Handler{obeys, blames} {
			start := time.Now()
			err := sixfold.Chain(h, second)(t.Context(), &sixfold.Envelope{Type: "pay"})
			if time.Since(start) != time.Second || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"pay": it ran past 1s`) {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		}
		if err := sixfold.Chain(ignores, second)(t.Context(), &sixfold.Envelope{}); err != nil {
			t.Errorf("it has succeeded: %v", err)
		}
		if err := sixfold.Chain(answers(errDown), second)(t.Context(), nil); err != errDown {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := sixfold.Chain(obeys, second)(ctx, nil); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "ran past") {
			t.Errorf("the deadline of the caller is not ours: %v", err)
		}
		outer := must(middleware.Timeout(time.Millisecond))
		if err := sixfold.Chain(obeys, outer, second)(t.Context(), nil); strings.Count(err.Error(), "ran past") != 1 || !strings.Contains(err.Error(), "past 1ms") {
			t.Errorf("only the outer one has passed: %v", err)
		}
	})
	if _, err := middleware.Timeout(0); !errors.Is(err, sixfold.ErrInvalid) {
		t.Error(err)
	}
}

func TestLogging(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	env := &sixfold.Envelope{ID: "m-1", Type: "pay", Key: "k", Body: []byte("secret"), Headers: map[string]string{"token": "secret"}}
	ctx := sixfold.WithInfo(sixfold.WithCorrelation(t.Context(), "elsewhere"), &sixfold.Info{Consumer: "bank", Attempt: 3, Envelope: &sixfold.Envelope{CorrelationID: "chain"}})
	_ = sixfold.Chain(answers(nil), middleware.Logging(log))(ctx, env)
	_ = sixfold.Chain(answers(errDown), middleware.Logging(log))(t.Context(), env)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 4 || strings.Contains(out.String(), "secret") {
		t.Fatalf("%s", &out)
	}
	for i, parts := range [][]string{
		{"level=DEBUG", `msg="middleware: entering"`, "message.id=m-1", "message.type=pay", "correlation_id=chain", "consumer=bank", "attempt=3"},
		{"level=INFO", `msg="middleware: completed"`, "elapsed=", "correlation_id=chain"},
		{"level=DEBUG"},
		{"level=ERROR", `msg="middleware: failed"`, "elapsed=", `error="connection refused"`},
	} {
		for _, part := range parts {
			if !strings.Contains(lines[i], part) {
				t.Errorf("%q is missing in %s", part, lines[i])
			}
		}
	}
	_ = sixfold.Chain(answers(nil), middleware.Logging(slog.New(slog.DiscardHandler)))(t.Context(), nil)
}

func (p pay) Validate() error {
	if p.N < 0 {
		return errors.New("n is negative")
	}
	return nil
}

// MessageHistory lets Only and ValidateAs know the old name too.
func (pay) MessageHistory() []sixfold.Former { return []sixfold.Former{{Name: "pay"}} }

type charge struct {
	sixfold.Returns[int]

	Cents int
}

func (charge) MessageName() string { return "payments.charge" }

func (c charge) Validate() error {
	if c.Cents <= 0 {
		return errors.New("cents is not positive")
	}
	return nil
}

func TestValidate(t *testing.T) {
	m := must(mediator.New(&mediator.Options{Middleware: []sixfold.Middleware{middleware.Validate()}},
		mediator.OnCommand(func(_ context.Context, c charge) (int, error) { return c.Cents, nil })))
	if n, err := mediator.Send(t.Context(), m, charge{Cents: 5}); n != 5 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	_, err := mediator.Send(t.Context(), m, charge{Cents: -1})
	if !errors.Is(err, sixfold.ErrInvalid) || !sixfold.IsPermanent(err) || !strings.Contains(err.Error(), "cents is not positive") {
		t.Error(err)
	}
	runs := 0
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return nil }, middleware.Validate(), middleware.ValidateAs(pay{}))
	for body, good := range map[string]bool{`{"n":1}`: true, `{"n":-1}`: false, `{`: false} {
		for _, name := range []string{"payments.pay", "pay"} {
			runs = 0
			err := h(t.Context(), &sixfold.Envelope{Type: name, Body: []byte(body)})
			if (err == nil) != good || (runs == 1) != good || !good && !sixfold.IsPermanent(err) {
				t.Errorf("%s: %d runs, %v", body, runs, err)
			}
		}
	}
	if err := h(t.Context(), &sixfold.Envelope{Type: "other", Body: []byte("{")}); err != nil {
		t.Error(err)
	}
}

func TestOnlyAndExcept(t *testing.T) {
	var hit []string
	mark := func(name string) sixfold.Middleware {
		return func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				hit = append(hit, name)
				return next(ctx, env)
			}
		}
	}
	h := sixfold.Chain(answers(nil), middleware.Only(mark("only"), pay{}), middleware.Except(mark("except"), pay{}, nil))
	for name, want := range map[string]string{"payments.pay": "only", "pay": "only", "other": "except"} {
		hit = nil
		if err := h(t.Context(), &sixfold.Envelope{Type: name}); err != nil || !slices.Equal(hit, []string{want}) {
			t.Errorf("%s: %q, %v", name, hit, err)
		}
	}
	if middleware.Only(nil, pay{}) != nil || middleware.When(mark(""), nil) != nil {
		t.Error("nothing made of nil is something")
	}
}

func TestTyped(t *testing.T) {
	var seen []int
	mw := must(middleware.Typed(func(ctx context.Context, p pay, next func(context.Context) error) error {
		seen = append(seen, p.N)
		if p.N == 2 {
			return errDown
		}
		return next(ctx)
	}))
	runs := 0
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return nil }, mw)
	for body, want := range map[string]error{`{"n":1}`: nil, `{"n":2}`: errDown, `{`: sixfold.ErrUndecodable} {
		if err := h(t.Context(), &sixfold.Envelope{Type: "payments.pay", Body: []byte(body)}); !errors.Is(err, want) {
			t.Errorf("%s: %v", body, err)
		}
	}
	_ = h(t.Context(), &sixfold.Envelope{Type: "other"})
	if slices.Sort(seen); !slices.Equal(seen, []int{1, 2}) || runs != 2 {
		t.Errorf("%v, %d runs", seen, runs)
	}
	if _, err := middleware.Typed[pay](nil); !errors.Is(err, sixfold.ErrInvalid) {
		t.Error(err)
	}
	if _, err := middleware.Typed(func(context.Context, *pay, func(context.Context) error) error { return nil }); !errors.Is(err, sixfold.ErrInvalid) {
		t.Error(err)
	}
}

type spanKey struct{}

func TestObserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ends []error
		mw := middleware.Observe(middleware.Hooks{
			Begin: func(ctx context.Context, _ *sixfold.Envelope) context.Context {
				return context.WithValue(ctx, spanKey{}, "span")
			},
			End: func(ctx context.Context, env *sixfold.Envelope, took time.Duration, err error) {
				if ctx.Value(spanKey{}) != "span" || took != time.Second || env.Type != "pay" {
					t.Errorf("%v %v %v", ctx, took, env)
				}
				ends = append(ends, err)
			},
		})
		do := func(f func()) sixfold.Handler {
			return sixfold.Chain(func(ctx context.Context, _ *sixfold.Envelope) error {
				if ctx.Value(spanKey{}) != "span" {
					t.Error("the handler does not have the context")
				}
				time.Sleep(time.Second)
				f()
				return errDown
			}, mw)
		}
		env := &sixfold.Envelope{Type: "pay"}
		_ = do(func() {})(t.Context(), env)
		func() {
			defer func() {
				if recover() != "mine" {
					t.Error("the panic was swallowed")
				}
			}()
			_ = do(func() { panic("mine") })(t.Context(), env)
		}()
		var all sync.WaitGroup
		all.Go(func() { _ = do(runtime.Goexit)(t.Context(), env) })
		all.Wait()
		var p *sixfold.PanicError
		if len(ends) != 3 || ends[0] != errDown || !errors.As(ends[1], &p) || p.Value != "mine" || ends[2] == nil {
			t.Errorf("%v", ends)
		}
		if err := sixfold.Chain(answers(errDown), middleware.Observe(middleware.Hooks{}))(t.Context(), env); err != errDown {
			t.Error(err)
		}
	})
}

func TestAuthorise(t *testing.T) {
	var ok bool
	var asking error
	runs := 0
	mw := must(middleware.Authorise(func(context.Context, *sixfold.Envelope) (bool, error) { return ok, asking }))
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return nil }, mw)
	err := h(t.Context(), &sixfold.Envelope{Type: "pay"})
	if !errors.Is(err, middleware.ErrForbidden) || !sixfold.IsPermanent(err) || runs != 0 {
		t.Errorf("%d runs, %v", runs, err)
	}
	ok, asking = true, errDown
	if err := h(t.Context(), nil); !errors.Is(err, errDown) || sixfold.IsPermanent(err) || errors.Is(err, middleware.ErrForbidden) || runs != 0 {
		t.Errorf("%d runs, %v", runs, err)
	}
	if asking = nil; h(t.Context(), nil) != nil || runs != 1 {
		t.Error("not allowed")
	}
	if _, err := middleware.Authorise(nil); !errors.Is(err, sixfold.ErrInvalid) {
		t.Error(err)
	}
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := must(middleware.NewRateLimit(middleware.RateOptions{PerSecond: 2, Burst: 3}))
		start := time.Now()
		var begun []time.Duration
		h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { begun = append(begun, time.Since(start)); return nil }, l.Middleware())
		for range 6 {
			if err := h(t.Context(), nil); err != nil {
				t.Error(err)
			}
		}
		ms := time.Millisecond
		if want := []time.Duration{0, 0, 0, 500 * ms, 1000 * ms, 1500 * ms}; !slices.Equal(begun, want) {
			t.Errorf("%v", begun)
		}
		soon, cancel := context.WithTimeout(t.Context(), 499*ms)
		defer cancel()
		err := h(soon, &sixfold.Envelope{Type: "pay"})
		d, _ := sixfold.RetryDelay(err)
		if !errors.Is(err, middleware.ErrRateLimited) || !errors.Is(err, bus.ErrUnavailable) || d != 500*ms || time.Since(start) != 1500*ms {
			t.Errorf("after %v: %v, again in %v", time.Since(start), err, d)
		}
		given, giveUp := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- h(given, nil) }()
		synctest.Wait()
		giveUp()
		if err := <-done; !errors.Is(err, context.Canceled) || len(begun) != 6 {
			t.Errorf("%d ran, %v", len(begun), err)
		}
		_ = h(t.Context(), nil) // has the turn that was given back
		if last := begun[len(begun)-1]; last != 2000*ms {
			t.Errorf("%v", begun)
		}
		time.Sleep(time.Hour)
		begun, start = nil, time.Now()
		for range 5 {
			_ = h(t.Context(), nil)
		}
		if want := []time.Duration{0, 0, 0, 500 * ms, 1000 * ms}; !slices.Equal(begun, want) {
			t.Errorf("a long pause allows one burst: %v", begun)
		}
	})
	for _, o := range []middleware.RateOptions{{}, {PerSecond: -1}, {PerSecond: math.NaN()}, {PerSecond: math.Inf(1)}, {PerSecond: 1, Burst: -1}, {PerSecond: 1, Burst: 2_000_000}, {PerSecond: 1e-5, Burst: 1_000_000}} {
		if _, err := middleware.NewRateLimit(o); !errors.Is(err, sixfold.ErrInvalid) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		second := func(int) time.Duration { return time.Second }
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		for name, c := range map[string]struct {
			o    middleware.RetryOptions
			errs []error // of the attempts; the last one is repeated
			runs int
			took time.Duration
		}{
			"third time":    {middleware.RetryOptions{Backoff: second}, []error{errDown, errDown, nil}, 3, 2 * time.Second},
			"never":         {middleware.RetryOptions{Backoff: second, Attempts: 5}, []error{errDown}, 5, 4 * time.Second},
			"once":          {middleware.RetryOptions{Attempts: 1}, []error{errDown}, 1, 0},
			"permanent":     {middleware.RetryOptions{}, []error{sixfold.Permanent(errDown)}, 1, 0},
			"open":          {middleware.RetryOptions{}, []error{middleware.ErrOpen}, 1, 0},
			"next twice":    {middleware.RetryOptions{}, []error{sixfold.ErrNextTwice}, 1, 0},
			"chosen":        {middleware.RetryOptions{If: func(err error) bool { return err != errDown }}, []error{errDown}, 1, 0},
			"asks for time": {middleware.RetryOptions{Backoff: second}, []error{sixfold.RetryAfter(10*time.Second, errDown), nil}, 2, 10 * time.Second},
			"too late":      {middleware.RetryOptions{}, []error{sixfold.RetryAfter(time.Hour, errDown), nil}, 1, 0},
			"no delay":      {middleware.RetryOptions{Backoff: func(int) time.Duration { return -1 }}, []error{errDown, nil}, 2, 0},
		} {
			runs := 0
			h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return c.errs[min(runs, len(c.errs))-1] }, must(middleware.NewRetry(&c.o)))
			start := time.Now()
			err := h(ctx, nil)
			if took := time.Since(start); runs != c.runs || took != c.took || err != c.errs[min(runs, len(c.errs))-1] {
				t.Errorf("%s: %d runs in %v: %v", name, runs, took, err)
			}
		}
		runs, start := 0, time.Now()
		h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { runs++; return errDown }, must(middleware.NewRetry(&middleware.RetryOptions{Attempts: 20})))
		if err := h(t.Context(), nil); err != errDown || runs != 20 || time.Since(start) < 30*time.Second || time.Since(start) > 70*time.Second {
			t.Errorf("%d runs in %v: %v", runs, time.Since(start), err)
		}
		gone, leave := context.WithCancel(t.Context())
		h = sixfold.Chain(func(context.Context, *sixfold.Envelope) error { leave(); return errDown }, must(middleware.NewRetry(nil)))
		if err := h(gone, nil); err != errDown {
			t.Error(err)
		}
	})
	if _, err := middleware.NewRetry(&middleware.RetryOptions{Attempts: -1}); !errors.Is(err, sixfold.ErrInvalid) {
		t.Error(err)
	}
}
