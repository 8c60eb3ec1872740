package flow

import (
	"fmt"
	"reflect"

	"github.com/sixfold-go/sixfold/internal/flowplan"
)

// A Part is a piece of a flow whose state is an S: a step, or steps put together. The functions of this package make parts.
// A part does not change, and may stand in several flows and at several places.
type Part[S any] interface {
	// part writes it down for the plan. No one else makes parts.
	part(w *writer[S], above string) *flowplan.Part
}

// writer collects what a plan does not hold, while parts become one.
type writer[S any] struct {
	steps map[string]*step[S] // by path
	conds map[string]func(*S) bool
	after bool // the pivot is written
	errs  []error
}

// Group is steps put together.
type Group[S any] struct {
	kind  flowplan.Kind
	name  string
	cond  func(*S) bool
	parts []Part[S]
}

// Sub puts parts one after another under a name, as a flow within a flow: a branch of Parallel, or a part that several flows
// share. Its steps are called "<name>/<step>".
func Sub[S any](name string, parts ...Part[S]) Group[S] {
	return group(flowplan.Sequence, name, nil, parts)
}

// Parallel begins its branches at once and is done when all of them are. When one fails, the others are undone too, as far as
// they have come: they do not go on.
func Parallel[S any](name string, branches ...Part[S]) Group[S] {
	return group(flowplan.Parallel, name, nil, branches)
}

// When does its parts one after another if is answers true, and leaves them out else. It is asked once, when the flow
// comes to it.
func When[S any](name string, is func(s *S) bool, parts ...Part[S]) Group[S] {
	return group(flowplan.Condition, name, is, parts)
}

func group[S any](kind flowplan.Kind, name string, cond func(*S) bool, parts []Part[S]) Group[S] {
	return Group[S]{kind, name, cond, append([]Part[S](nil), parts...)}
}

func (g Group[S]) part(w *writer[S], above string) *flowplan.Part {
	path := join(above, g.name)
	if g.kind == flowplan.Condition {
		w.conds[path] = g.cond
		if g.cond == nil {
			w.errs = append(w.errs, fmt.Errorf("%.200q: its condition is nil; pass a func(*%s) bool", path, reflect.TypeFor[S]()))
		}
	}
	return &flowplan.Part{Kind: g.kind, Name: g.name, Parts: write(w, path, g.parts)}
}

// write is part for many. A step that is the pivot is followed by it.
func write[S any](w *writer[S], path string, parts []Part[S]) (out []*flowplan.Part) {
	for _, p := range parts {
		if p == nil {
			out = append(out, nil)
			continue
		}
		out = append(out, p.part(w, path))
		if t, ok := p.(Task[S]); ok && t.step.pivot {
			out = append(out, &flowplan.Part{Kind: flowplan.Pivot})
			w.after = true
		}
	}
	return out
}

func join(above, name string) string {
	if above == "" || name == "" {
		return above + name
	}
	return above + "/" + name
}
