package saga

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
)

// A Step is one message that a saga with state S hears of, in a transaction X. StartedBy, On and OnTimeout make steps.
type Step[X, S any] struct {
	route    sixfold.Route // without a handler
	kind     stepKind
	of       func(env *sixfold.Envelope) string // of awaits: the id under which a message is awaited
	timer    string                             // of awaits: the one of its names that is a timer's
	required bool
	restarts bool
	err      error
	// bind makes the handler of the saga that the step belongs to.
	bind func(g *Saga[X, S], st *Step[X, S]) sixfold.Route
	// sample is a value of the message, for the outbox's routes.
	sample sixfold.Message
}

type stepKind int

const (
	starts stepKind = iota + 1
	hears
	timesOut
	awaits
)

// StartedBy makes a step whose message begins an instance, where there is none of its key. For an instance that is running it is a
// message like any other; for one that has ended it is dropped and counted, unless the step is Restarting.
//
// key answers the correlation key, of 1 to MaxKey bytes. h runs in the transaction that saves s, writes what fx collects and
// records the message: all of it takes effect, or none. It may run again after a failure, with a state that is loaded again.
// h must not keep s, fx or tx.
func StartedBy[X, S any, M sixfold.Message](key func(M) string, h func(ctx context.Context, tx X, s *S, m M, fx *Effects) error) Step[X, S] {
	return newStep(starts, "StartedBy", key, h)
}

// On makes a step whose message an instance hears of. Where there is none, since it has not begun or has ended, the message is
// dropped and counted; see Required. key and h are as in StartedBy.
func On[X, S any, M sixfold.Message](key func(M) string, h func(ctx context.Context, tx X, s *S, m M, fx *Effects) error) Step[X, S] {
	return newStep(hears, "On", key, h)
}

// OnTimeout makes a step for the messages of timers that Effects.After set. It has no key: a timer belongs to the very instance
// that set it. One that was cancelled, has come before, or belongs to an instance that has ended or to a predecessor is dropped and counted, and
// so is a message of that type which is no timer. h is as in StartedBy.
func OnTimeout[X, S any, M sixfold.Message](h func(ctx context.Context, tx X, s *S, m M, fx *Effects) error) Step[X, S] {
	return newStep(timesOut, "OnTimeout", nil, h)
}

// Required makes a step made by On fail where no instance has begun, so that the message is tried again later and parked meanwhile:
// for messages that may overtake the one that begins the instance. It waits beside its key, or the message that begins the
// instance would wait behind it. An instance that has ended still drops it.
func (st Step[X, S]) Required() Step[X, S] {
	if st.kind != hears {
		st.err = errors.Join(st.err, fmt.Errorf("step %s: Required is for steps made by On; leave it out", quote(st.route.Name)))
	}
	st.required = true
	return st
}

// Restarting lets a step made by StartedBy begin another instance after one of the same key that has ended, with a new id, the next generation
// and an empty state.
func (st Step[X, S]) Restarting() Step[X, S] {
	if st.kind != starts {
		st.err = errors.Join(st.err, fmt.Errorf("step %s: Restarting is for steps made by StartedBy; leave it out", quote(st.route.Name)))
	}
	st.restarts = true
	return st
}

func newStep[X, S any, M sixfold.Message](kind stepKind, maker string, key func(M) string, h func(ctx context.Context, tx X, s *S, m M, fx *Effects) error) Step[X, S] {
	st := Step[X, S]{route: sixfold.RouteOf[M](), kind: kind}
	if key == nil && kind != timesOut {
		st.err = fmt.Errorf("step %s: the key function of %s is nil; pass a func(%s) string that answers what the instance is found by", quote(st.route.Name), maker, reflect.TypeFor[M]())
	}
	if h == nil {
		st.err = errors.Join(st.err, fmt.Errorf("step %s: the handler of %s is nil; pass a func(context.Context, %s, *%s, %s, *saga.Effects) error",
			quote(st.route.Name), maker, reflect.TypeFor[X](), reflect.TypeFor[S](), reflect.TypeFor[M]()))
	}
	// What is wrong with M itself (a pointer type, a bad name) shows as well.
	probe := st.route
	probe.Handle = func(context.Context, *sixfold.Envelope) error { return nil }
	if err := probe.Err(); err != nil {
		st.err = errors.Join(st.err, err)
	} else {
		var zero M
		st.sample = zero
	}
	st.bind = func(g *Saga[X, S], st *Step[X, S]) sixfold.Route {
		r := inbox.On(g.box.in, func(ctx context.Context, tx X, m M) error {
			a := attemptFrom(ctx)
			k := a.env.Key
			if key != nil {
				k = key(m)
			}
			return g.step(ctx, a, tx, st, k, func(ctx context.Context, s *S, fx *Effects) error { return h(ctx, tx, s, m, fx) })
		})
		handle := r.Handle
		r.Handle = func(ctx context.Context, env *sixfold.Envelope) error { return g.handle(ctx, env, handle) }
		return r
	}
	return st
}
