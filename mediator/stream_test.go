package mediator_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

type list struct {
	sixfold.Returns[iter.Seq2[int, error]]

	N    int
	Fail bool
}

func (list) MessageName() string { return "orders.list" }

// counter streams 0 to N-1 and then fails if asked to, and notes when it was stopped early.
func counter(stopped *bool) func(context.Context, list) iter.Seq2[int, error] {
	return func(_ context.Context, q list) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for i := range q.N {
				if !yield(i, nil) {
					*stopped = true
					return
				}
			}
			if q.Fail {
				yield(0, errCancelled)
			}
		}
	}
}

func TestStream(t *testing.T) {
	for name, o := range map[string]*mediator.Options{"plain": nil, "through": {Queries: []sixfold.Middleware{through}}} {
		t.Run(name, func(t *testing.T) {
			stopped := false
			m := newMediator(t, o, mediator.OnStream(counter(&stopped)), mediator.OnQuery(onFind))
			collect := func(ctx context.Context, q list, most int) (got []int, last error) {
				for n, err := range mediator.Stream(ctx, m, q) {
					if last = err; err != nil {
						if n != 0 {
							t.Errorf("%d beside an error", n)
						}
						continue // an error is the last that comes
					}
					if got = append(got, n); len(got) == most {
						break
					}
				}
				return got, last
			}
			if got, err := collect(t.Context(), list{N: 3}, 0); err != nil || !slices.Equal(got, []int{0, 1, 2}) || stopped {
				t.Errorf("%v, %v", got, err)
			}
			if got, err := collect(t.Context(), list{N: 2, Fail: true}, 0); err != errCancelled || len(got) != 2 {
				t.Errorf("%v, %v", got, err)
			}
			if got, err := collect(t.Context(), list{N: 9}, 4); err != nil || len(got) != 4 || !stopped {
				t.Errorf("%v, %v, stopped %t", got, err, stopped)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if got, err := collect(ctx, list{N: 9}, 0); !errors.Is(err, context.Canceled) || got != nil {
				t.Errorf("%v, %v", got, err)
			}
			_, err := mediator.Query(t.Context(), m, list{})
			says(t, err, mediator.ErrKind, "use mediator.Stream")
		})
	}
}

func TestStreamWithoutHandler(t *testing.T) {
	m := newMediator(t, nil)
	runs := 0
	for _, err := range mediator.Stream(t.Context(), m, list{}) {
		runs++
		says(t, err, mediator.ErrNoHandler, "mediator.OnStream")
	}
	if runs != 1 {
		t.Errorf("%d pairs", runs)
	}
}

// The middleware is around all elements, and what it makes of the end is the end.
func TestStreamMiddleware(t *testing.T) {
	var events []string
	around := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			events = append(events, "begin")
			err := next(ctx, env)
			events = append(events, "end")
			if err != nil {
				return errMail
			}
			return nil
		}
	}
	twice := sixfold.Repeats(func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			if next(ctx, env) == nil {
				return nil
			}
			return next(ctx, env)
		}
	})
	var stopped bool
	m := newMediator(t, nil, mediator.OnStream(counter(&stopped)).With(around, twice))
	var last error
	for n, err := range mediator.Stream(t.Context(), m, list{N: 2, Fail: true}) {
		if last = err; err == nil {
			events = append(events, string(rune('0'+n)))
		}
	}
	if want := []string{"begin", "0", "1", "end"}; !slices.Equal(events, want) || last != errMail {
		t.Errorf("%q, %v: elements must not come twice", events, last)
	}
}

func TestElements(t *testing.T) {
	for name, o := range map[string]*mediator.Options{"plain": nil, "through": {Queries: []sixfold.Middleware{through}}} {
		stopped := false
		m := newMediator(t, o, mediator.OnStream(counter(&stopped)), mediator.OnQuery(onFind))
		stream, ok := mediator.Elements(m, list{})
		if !ok {
			t.Fatalf("%s: there is no stream", name)
		}
		var got []any
		var last error
		for v, err := range stream(t.Context(), list{N: 3, Fail: true}) {
			got, last = append(got, v), err
		}
		if !slices.Equal(got, []any{0, 1, 2, nil}) || !errors.Is(last, errCancelled) {
			t.Errorf("%s: %v, %v", name, got, last)
		}
		for range stream(t.Context(), list{N: 3, Fail: true}) {
			break
		}
		if !stopped {
			t.Errorf("%s: the handler was not stopped", name)
		}
	}
	if _, ok := mediator.Elements(newMediator(t, nil), list{}); ok {
		t.Error("a mediator without a handler has a stream")
	}
	if _, ok := mediator.Elements[list](nil, list{}); ok {
		t.Error("nil has a stream")
	}
}
