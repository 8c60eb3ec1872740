package mediator_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

func noting(calls *[]string, name string) sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			*calls = append(*calls, name+"(")
			defer func() { *calls = append(*calls, ")"+name) }()
			return next(ctx, env)
		}
	}
}

// guarantees: M3
func TestM3TheFirstIsOutermost(t *testing.T) {
	var calls []string
	note := func(name string) []sixfold.Middleware {
		return []sixfold.Middleware{noting(&calls, name+"1"), noting(&calls, name+"2")}
	}
	o := &mediator.Options{Middleware: note("all"), Commands: note("com"), Queries: note("que"), Notifications: note("not")}
	m := newMediator(t, o,
		mediator.OnCommand(onCreate).With(note("own")...), mediator.OnQuery(onFind), mediator.OnNotification(onPlaced))
	_, _ = mediator.Send(t.Context(), m, create{})
	_, _ = mediator.Query(t.Context(), m, find{})
	_ = mediator.Publish(t.Context(), m, placed{})
	want := "all1(all2(com1(com2(own1(own2()own2)own1)com2)com1)all2)all1" +
		"all1(all2(que1(que2()que2)que1)all2)all1" + "all1(all2(not1(not2()not2)not1)all2)all1"
	if got := strings.Join(calls, ""); got != want {
		t.Errorf("\n%s, want\n%s", got, want)
	}
}

// guarantees: M3
func TestM3NextTwice(t *testing.T) {
	twice := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			return errors.Join(next(ctx, env), next(ctx, env))
		}
	}
	for name, c := range map[string]struct {
		mw   sixfold.Middleware
		runs int
	}{"undeclared": {twice, 1}, "declared": {sixfold.Repeats(twice), 2}} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			o := &mediator.Options{Middleware: []sixfold.Middleware{through, c.mw, through}}
			m := newMediator(t, o, mediator.OnCommand(func(context.Context, create) (string, error) { runs++; return "", nil }),
				mediator.OnNotification(func(context.Context, placed) error { runs++; return nil }))
			for call := 1; call <= 3; call++ {
				_, err := mediator.Send(t.Context(), m, create{})
				if runs != call*c.runs || errors.Is(err, sixfold.ErrNextTwice) != (c.runs == 1) {
					t.Errorf("call %d: %d runs, %v", call, runs, err)
				}
			}
			runs = 0
			if err := mediator.Publish(t.Context(), m, placed{}); runs != c.runs || errors.Is(err, sixfold.ErrNextTwice) != (c.runs == 1) {
				t.Errorf("%d runs, %v", runs, err)
			}
		})
	}
}

// guarantees: M3
func TestM3ACancelledContextStopsBeforeTheHandler(t *testing.T) {
	never := func(context.Context, create) (string, error) { t.Error("the handler ran"); return "", nil }
	for name, o := range map[string]*mediator.Options{"plain": nil, "through": {Middleware: []sixfold.Middleware{through}}} {
		t.Run(name, func(t *testing.T) {
			m := newMediator(t, o, mediator.OnCommand(never), mediator.OnNotification(func(context.Context, placed) error { t.Error("ran"); return nil }))
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if _, err := mediator.Send(ctx, m, create{}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if err := mediator.Publish(ctx, m, placed{}); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

func TestMiddlewareSeesTheMessageAndTheResult(t *testing.T) {
	var seen []string
	look := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			c, ok := env.Message().(create)
			d, err := sixfold.Decode[create](ctx, env)
			err = errors.Join(err, next(ctx, env))
			id, has := mediator.Cell[string](ctx)
			if !ok || !has || d != c {
				t.Errorf("%v %v %v", ok, has, d)
				return err
			}
			if _, wrong := mediator.Cell[int](ctx); wrong {
				t.Error("a cell of another type")
			}
			seen = append(seen, env.Type, env.Key, c.Customer, *id)
			return err
		}
	}
	m := newMediator(t, &mediator.Options{Middleware: []sixfold.Middleware{look}}, mediator.OnCommand(onCreate))
	if _, err := mediator.Send(t.Context(), m, create{Customer: "c-1"}); err != nil {
		t.Error(err)
	}
	if want := []string{"orders.create", "c-1", "c-1", "for c-1"}; !slices.Equal(seen, want) {
		t.Errorf("%q", seen)
	}
	if _, ok := mediator.Cell[string](t.Context()); ok {
		t.Error("a cell outside of a call")
	}
}

func TestMiddlewareMayAnswerInPlaceOfTheHandler(t *testing.T) {
	cached := func(sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, _ *sixfold.Envelope) error {
			if r, ok := mediator.Cell[int](ctx); ok {
				*r = 42
			}
			return nil
		}
	}
	silent := func(sixfold.Handler) sixfold.Handler {
		return func(context.Context, *sixfold.Envelope) error { return nil }
	}
	m := newMediator(t, nil, mediator.OnQuery(onFind).With(cached), mediator.OnCommand(onCreate).With(silent), mediator.OnPlain(onCancel).With(silent))
	if n, err := mediator.Query(t.Context(), m, find{}); n != 42 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	_, err := mediator.Send(t.Context(), m, create{})
	says(t, err, mediator.ErrNoResult, "orders.create", "mediator.Cell")
	if _, err := mediator.Send(t.Context(), m, cancel{}); err != nil {
		t.Errorf("nothing is a result of struct{}: %v", err)
	}
}

func TestAContextFromElsewhereIsAnError(t *testing.T) {
	lost := func(next sixfold.Handler) sixfold.Handler {
		return func(_ context.Context, env *sixfold.Envelope) error { return next(context.Background(), env) }
	}
	m := newMediator(t, &mediator.Options{Middleware: []sixfold.Middleware{lost}}, mediator.OnCommand(onCreate), mediator.OnNotification(onPlaced))
	if _, err := mediator.Send(t.Context(), m, create{}); err == nil || !strings.Contains(err.Error(), "a context that is not made of") {
		t.Error(err)
	}
	if err := mediator.Publish(t.Context(), m, placed{}); err == nil || !strings.Contains(err.Error(), "a context that is not made of") {
		t.Error(err)
	}
}

// A handler that calls again through the mediator has a call of its own inside.
func TestCallsInCalls(t *testing.T) {
	var m *mediator.Mediator
	m = newMediator(t, &mediator.Options{Middleware: []sixfold.Middleware{through, through}},
		mediator.OnCommand(func(ctx context.Context, c create) (string, error) {
			n, err := mediator.Query(ctx, m, find{ID: c.Customer})
			if n == 1 && err == nil {
				return mediator.Send(ctx, m, create{Customer: "inner"})
			}
			return c.Customer, err
		}), mediator.OnQuery(onFind))
	if id, err := mediator.Send(t.Context(), m, create{Customer: "o"}); id != "inner" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
}
