package saga

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
)

// This file is what package saga/flow stands on besides the event form: steps whose message type and whose transaction type
// are known at different places, and what an instance can become.

// Heard is a message type that a step hears of, for packages that put steps together out of parts.
type Heard struct {
	// Route has the message's names and no handler.
	Route sixfold.Route
	// Sample is a value of the message.
	Sample sixfold.Message
	// Decode makes the message of an envelope.
	Decode func(ctx context.Context, env *sixfold.Envelope) (any, error)
	// Key answers the correlation key of what Decode made; nil for timers.
	Key func(m any) string
	// Err is what is wrong with it.
	Err error
}

// HeardOf makes a Heard of a message type and its key function.
func HeardOf[M sixfold.Message](key func(M) string) Heard {
	h := Heard{Route: sixfold.RouteOf[M]()}
	h.Decode = func(ctx context.Context, env *sixfold.Envelope) (any, error) { return sixfold.Decode[M](ctx, env) }
	probe := h.Route
	probe.Handle = func(context.Context, *sixfold.Envelope) error { return nil }
	h.Err = probe.Err()
	if key == nil {
		h.Err = errors.Join(h.Err, fmt.Errorf("message %s: its key function is nil; pass a func(%s) string that answers what the instance is found by", quote(h.Route.Name), reflect.TypeFor[M]()))
	} else {
		h.Key = func(m any) string { return key(m.(M)) }
	}
	if k := reflect.TypeFor[M]().Kind(); k != reflect.Interface && k != reflect.Pointer {
		var zero M
		h.Sample = zero
	}
	return h
}

// HeardStep is the function of a step for a Heard, which is given the envelope too.
type HeardStep[S any] func(ctx context.Context, s *S, env *sixfold.Envelope, m any, fx *Effects) error

// StartedByHeard is StartedBy for a Heard.
func StartedByHeard[X, S any](m Heard, h HeardStep[S]) Step[X, S] { return heardStep[X](starts, m, h) }

// OnHeard is On for a Heard.
func OnHeard[X, S any](m Heard, h HeardStep[S]) Step[X, S] { return heardStep[X](hears, m, h) }

// OnTimeoutHeard is OnTimeout for a Heard.
func OnTimeoutHeard[X, S any](m Heard, h HeardStep[S]) Step[X, S] {
	return heardStep[X](timesOut, m, h)
}

func heardStep[X, S any](kind stepKind, m Heard, h HeardStep[S]) Step[X, S] {
	st := Step[X, S]{route: m.Route, kind: kind, sample: m.Sample, err: m.Err}
	st.bind = func(g *Saga[X, S], st *Step[X, S]) sixfold.Route {
		r := inbox.OnEnvelope(g.box.in, st.route, func(ctx context.Context, tx X, env *sixfold.Envelope) error {
			v, err := m.Decode(ctx, env)
			if err != nil {
				return err
			}
			key := env.Key
			if kind != timesOut {
				key = m.Key(v)
			}
			return g.step(ctx, attemptFrom(ctx), tx, st, key, func(ctx context.Context, s *S, fx *Effects) error { return h(ctx, s, env, v, fx) })
		})
		handle := r.Handle
		r.Handle = func(ctx context.Context, env *sixfold.Envelope) error { return g.handle(ctx, env, handle) }
		return r
	}
	return st
}

// Become gives the instance another status, with a reason for people, for packages whose sagas know more than Complete and Fail.
// One that ends takes its timers with it.
func (fx *Effects) Become(s Status, reason string) { fx.become(s, reason) }

// Drop says that the message has no effect on the instance: when the step's function returns nil, nothing is saved, and the message is
// counted as dropped. A step that begins an instance cannot. A timer that is dropped stays among Instance.Timers until the instance ends or
// cancels it, although it does not come again: a step that only has nothing to do for it answers nil without Drop.
func (fx *Effects) Drop() { fx.dropped = true }

// Instance is the instance as it was loaded. Read it only.
func (fx *Effects) Instance() *Instance { return fx.in }

// Routed says whether the outbox knows where messages of m's name go.
func (b *Box[X]) Routed(m sixfold.Message) error { return b.out.Routed(m) }
