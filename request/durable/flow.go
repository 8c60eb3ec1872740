package durable

import (
	"context"
	"errors"
	"reflect"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
)

// FlowDo is flow.Do and flow.Then for a step that asks: cmd makes the request, and its answer tells that the step is done, unless then
// answers flow.ErrRefused. A fault that may pass (unavailable, expired, internal) is a no for now, as those of flow.Failed are, and any other
// a no for good. The deadline is the step's Within, with which the request expires too. The flow's consumer takes ReplyTo.
func FlowDo[X, S any, C sixfold.Command[R], R any](s *Service[X], cmd func(s *S) C, then func(s *S, r R) error) flow.Clause[S] {
	r, err := flowRequest(s, cmd, then)
	if err == nil && then == nil {
		err = invalid("request %.64q: the function for its answer is nil; pass a func(*%s, %s) error", r.Sample.MessageName(), reflect.TypeFor[S](), reflect.TypeFor[R]())
	}
	return flow.DoRequest(r, err)
}

// FlowUndo is flow.Undo for a step whose undoing asks: an answer tells that it is undone, unless then answers flow.ErrRefused, by which it is
// tried again, as after a fault. then may be nil.
func FlowUndo[X, S any, C sixfold.Command[R], R any](s *Service[X], cmd func(s *S) C, then func(s *S, r R) error) flow.Clause[S] {
	return flow.UndoRequest(flowRequest(s, cmd, then))
}

// flowReply is what a flow hears of a request. Its key is that under which it was asked.
type flowReply struct {
	key   string
	value any // an R, or a *request.Fault
}

func flowRequest[X, S any, C sixfold.Command[R], R any](s *Service[X], cmd func(s *S) C, then func(s *S, r R) error) (flow.Request[S], error) {
	var zero C
	names, err := outcomesOf[C]()
	switch {
	case err != nil:
		return flow.Request[S]{}, err
	case s == nil:
		return flow.Request[S]{}, invalid("request %.64q: the service is nil; make one with durable.New, and look at its error", zero.MessageName())
	case s.o.ReplyTo == "":
		return flow.Request[S]{}, invalid("request %.64q: there is no topic for replies; set Options.ReplyTo", zero.MessageName())
	case cmd == nil:
		return flow.Request[S]{}, invalid("request %.64q: the function that makes it is nil; pass a func(*%s) %s", zero.MessageName(), reflect.TypeFor[S](), reflect.TypeFor[C]())
	}
	heard := func(suffix string, decode func(env *sixfold.Envelope) (any, error)) saga.Heard {
		h := saga.Heard{Route: withSuffix(names, suffix)}
		h.Decode = func(_ context.Context, env *sixfold.Envelope) (any, error) {
			v, err := decode(env)
			return flowReply{env.Key, v}, err
		}
		h.Key = func(m any) string { return m.(flowReply).key }
		return h
	}
	r := flow.Request[S]{Sample: zero, ReplyTo: s.o.ReplyTo, Make: func(st *S) sixfold.Message { return cmd(st) }}
	r.Reply = heard(replySuffix, func(env *sixfold.Envelope) (any, error) {
		var v R
		_, err := s.read(env, &v)
		return v, err
	})
	r.Fault = heard(faultSuffix, func(env *sixfold.Envelope) (any, error) {
		fault, err := s.read(env, nil)
		return fault, err
	})
	if then != nil {
		r.Note = func(st *S, m any) error { return then(st, m.(flowReply).value.(R)) }
	}
	r.Passing = func(m any) bool {
		var f *request.Fault
		if err, ok := m.(flowReply).value.(error); !ok || !errors.As(err, &f) {
			return false
		}
		return f.Category == request.Unavailable || f.Category == request.Expired || f.Category == request.Internal
	}
	return r, nil
}
