package sixfold_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
)

func TestOnTakesNamesFromTheMessage(t *testing.T) {
	r := sixfold.On(func(context.Context, shipped) error { return nil })
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if r.Name != "orders.shipped.v4" || !slices.Equal(r.Former, []string{"shipment", "shipped", "orders.shipped"}) {
		t.Errorf("name %q, former %q", r.Name, r.Former)
	}
}

func TestRouteRefusesWhatIsNoMessage(t *testing.T) {
	h := func(context.Context, *sixfold.Envelope) error { return nil }
	for name, c := range map[string]struct {
		route sixfold.Route
		say   []string
	}{
		"pointer":            {sixfold.On(func(context.Context, *onPointer) error { return nil }), []string{"*sixfold_test.onPointer", "plain value", "handle sixfold_test.onPointer", "value receiver"}},
		"pointer to a value": {sixfold.On(func(context.Context, *placed) error { return nil }), []string{"*sixfold_test.placed", "plain value"}},
		"interface":          {sixfold.On(func(context.Context, sixfold.Message) error { return nil }), []string{"sixfold.Message", "a struct type"}},
		"zero value panics":  {sixfold.On(func(context.Context, borrowed) error { return nil }), []string{"sixfold_test.borrowed", "panic"}},
		"empty name":         {sixfold.On(func(context.Context, named) error { return nil }), []string{"it is empty"}},
		"bad history":        {sixfold.On(func(context.Context, badHistory) error { return nil }), []string{`the name "a" stands for two`, `the name "b" stands for two`, `""`, `"c d"`}},
		"nil handler":        {sixfold.On[placed](nil), []string{"handler is nil", "func(context.Context, sixfold_test.placed) error"}},
		"nil raw handler":    {sixfold.Raw(nil), []string{"handler is nil"}},
		"raw with bad name":  {sixfold.RawNamed("a b", h), []string{`"a b"`}},
		"raw without name":   {sixfold.RawNamed("", h), []string{"it is empty"}},
		"no constructor":     {sixfold.Route{Name: "a\nb"}, []string{`"a\nb"`, "no handler"}},
		"negative limit":     {sixfold.Raw(h).Limit(-1), []string{"-1", "1 or more"}},
		"negative batch":     {sixfold.Route{Handle: h, BatchSize: -1}, []string{"-1", "10000"}},
		"enormous batch":     {sixfold.Route{Handle: h, BatchSize: 10_000_000}, []string{"10000000"}},
		"refused twice":      {sixfold.Raw(h).Refuse(errors.New("one")).Refuse(nil).Refuse(sixfold.ErrInvalid), []string{"one"}},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.route.Err()
			if !errors.Is(err, sixfold.ErrInvalid) {
				t.Fatalf("not ErrInvalid: %v", err)
			}
			for _, s := range c.say {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("the error does not say %q: %v", s, err)
				}
			}
		})
	}
}

func TestRouteIsAValue(t *testing.T) {
	var calls []string
	mark := func(name string) sixfold.Middleware {
		return func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				calls = append(calls, name)
				return next(ctx, env)
			}
		}
	}
	base := sixfold.Raw(func(context.Context, *sixfold.Envelope) error { calls = append(calls, "handler"); return nil })
	base.Batch = func(context.Context, []*sixfold.Envelope) error { return nil }
	one := base.With(mark("x")).With(mark("y")).With(mark("a")) // room is left in a slice of three
	two, three := one.With(mark("b")), one.With(mark("c")).Limit(3)
	if one.MaxConcurrent != 0 || three.MaxConcurrent != 3 {
		t.Errorf("limits %d and %d", one.MaxConcurrent, three.MaxConcurrent)
	}
	if base.Batch == nil || one.Batch != nil {
		t.Error("With must end batches of its copy, and of it alone: a batch would pass the middleware by")
	}
	for _, r := range []sixfold.Route{base, one, two, three} {
		if err := r.Handler()(t.Context(), &sixfold.Envelope{}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := strings.Join(calls, " "), "handler x y a handler x y a b handler x y a c handler"; got != want {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// guarantees: M3
func TestChainFirstIsOutermost(t *testing.T) {
	var calls []string
	mark := func(name string) sixfold.Middleware {
		return func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				calls = append(calls, name+"(")
				defer func() { calls = append(calls, ")"+name) }()
				return next(ctx, env)
			}
		}
	}
	boom := errors.New("boom")
	h := sixfold.Chain(func(context.Context, *sixfold.Envelope) error { calls = append(calls, "h"); return boom }, mark("1"), nil, mark("2"))
	if err := h(t.Context(), nil); err != boom {
		t.Errorf("error %v", err)
	}
	if got := strings.Join(calls, ""); got != "1(2(h)2)1" {
		t.Errorf("order %s", got)
	}
}
