package saga

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sixfold-go/sixfold"
)

// A Saga is a definition: its steps, on a Box. It does not change and is safe for concurrent use.
type Saga[X, S any] struct {
	name   string
	box    *Box[X]
	steps  []Step[X, S]
	timers []string // names of messages that have a step made by OnTimeout
	schema schema
	stats  counters
}

// Define makes a Saga. name is kept with its instances and never changes: 1 to 255 bytes of printable ASCII without spaces. The
// state S is a plain struct, kept as JSON; see Evolved. Define reports every problem at once.
func Define[X, S any](name string, box *Box[X], steps ...Step[X, S]) (*Saga[X, S], error) {
	g := &Saga[X, S]{name: name, box: box, steps: slices.Clone(steps)}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("saga %s: "+format, append([]any{quote(name)}, args...)...))
	}
	if err := sixfold.CheckMessageName(name); err != nil {
		errs = append(errs, invalid("name %s: give 1 to 255 bytes of printable ASCII without spaces, like \"renewal\"", quote(name)))
	}
	if box == nil {
		bad("the box is nil; make one with saga.NewBox")
	}
	var err error
	if g.schema, err = schemaOf[S](); err != nil {
		errs = append(errs, err)
	}
	if len(steps) == 0 {
		bad("it has no step; pass at least one made by saga.StartedBy")
	} else if !slices.ContainsFunc(steps, func(st Step[X, S]) bool { return st.kind == starts }) {
		bad("no step begins it; make one with saga.StartedBy")
	}
	heard := map[string]bool{}
	for i := range g.steps {
		st := &g.steps[i]
		if st.bind == nil {
			bad("step number %d is empty; make steps with StartedBy, On and OnTimeout", i+1)
			continue
		}
		if st.err != nil {
			bad("%w", st.err)
		}
		for _, n := range append([]string{st.route.Name}, st.route.Former...) {
			if heard[n] {
				bad("two steps hear of %s; handle it in one, and let the state decide", quote(n))
			}
			heard[n] = true
		}
		if st.kind == awaits {
			g.timers = append(g.timers, st.timer)
		}
		if st.kind != timesOut {
			continue
		}
		g.timers = append(g.timers, st.route.Name)
		if box != nil && st.sample != nil {
			if err := box.out.Routed(st.sample); err != nil {
				bad("timer %s: %w; it is sent like other messages, so route it to the consumer that takes this saga's routes", quote(st.route.Name), err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return g, nil
}

// Name of the saga.
func (g *Saga[X, S]) Name() string { return g.name }

// Routes are for a consumer, one for each step. All steps of a saga belong to one consumer, or to several on the same database.
func (g *Saga[X, S]) Routes() []sixfold.Route {
	rs := make([]sixfold.Route, len(g.steps))
	for i := range g.steps {
		rs[i] = g.steps[i].bind(g, &g.steps[i])
	}
	return rs
}
