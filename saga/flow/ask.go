package flow

import (
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/saga"
)

// ErrRefused is what the function of Then answers where the content of a reply says that the step was not done and will not be.
var ErrRefused = errors.New("flow: the reply says that the step was refused")

// Request is a command whose reply is known by its name, for packages whose requests are steps, as request/durable.
type Request[S any] struct {
	// Make makes it, and Sample is a value of it.
	Make   func(s *S) sixfold.Message
	Sample sixfold.Message
	// ReplyTo is the topic to which its replies come. It is sent under the instance's key, with which they come back, and expires with
	// the step's time limit.
	ReplyTo string
	// Reply tells that it was done, and Fault that it was not. Their keys are the instance's.
	Reply, Fault saga.Heard
	// Note notes a reply in the state, as the function of Then does. Nil: nothing is noted, as of an Undo.
	Note func(s *S, reply any) error
	// Passing reports whether what a fault speaks of may pass, so that another attempt makes sense.
	Passing func(fault any) bool
}

// DoRequest is Do and Then in one, for a Request. err is what is wrong with it, which is reported when the flow is made.
func DoRequest[S any](r Request[S], err error) Clause[S] {
	return Clause[S]{func(st *step[S]) { r.set("Do", st, &st.do, false, err) }}
}

// UndoRequest is Undo for a Request.
func UndoRequest[S any](r Request[S], err error) Clause[S] {
	return Clause[S]{func(st *step[S]) { r.set("Undo", st, &st.undo, true, err) }}
}

func (r Request[S]) set(what string, st *step[S], c *command[S], undo bool, err error) {
	switch {
	case err != nil:
		st.errs = append(st.errs, fmt.Errorf("%s: %w", what, err))
		return
	case c.make != nil:
		st.errs = append(st.errs, fmt.Errorf("it has two clauses %s; make two steps of it", what))
		return
	}
	c.make, c.sample, c.replyTo = r.Make, r.Sample, r.ReplyTo
	c.answers = append(c.answers, answer[S]{heard: r.Reply, what: flowplan.Succeeded, apply: r.Note},
		answer[S]{heard: r.Fault, what: flowplan.Unable, judge: func(fault any) flowplan.What {
			if undo || r.Passing(fault) {
				return flowplan.Unable
			}
			return flowplan.Refused
		}})
}
