package saga

import (
	"context"
	"fmt"
	"slices"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
)

// Awaited is a message that only the instance hears of which waits for it: the reply to a request, or that its deadline has passed.
// It is for packages whose steps ask, as request/durable. The instance is found by the key under which the message comes.
type Awaited struct {
	// Route has the message's names and no handler.
	Route sixfold.Route
	// Timer is that of its names by which a timer comes, which Effects.After set.
	Timer string
	// Of answers the id under which the message is awaited: that of its timer, or of Effects.Await.
	Of func(env *sixfold.Envelope) string
	// Err is what is wrong with it.
	Err error
}

// OnAwaited is a step for an Awaited, which is given the envelope. What is not awaited, not any more, or by nobody, is dropped and counted.
// What has come is not awaited any more, and its timer is cancelled.
func OnAwaited[X, S any](m Awaited, h func(ctx context.Context, tx X, s *S, env *sixfold.Envelope, fx *Effects) error) Step[X, S] {
	st := Step[X, S]{route: m.Route, kind: awaits, timer: m.Timer, of: m.Of, err: m.Err}
	st.bind = func(g *Saga[X, S], st *Step[X, S]) sixfold.Route {
		r := inbox.OnEnvelope(g.box.in, st.route, func(ctx context.Context, tx X, env *sixfold.Envelope) error {
			return g.step(ctx, attemptFrom(ctx), tx, st, env.Key, func(ctx context.Context, s *S, fx *Effects) error { return h(ctx, tx, s, env, fx) })
		})
		handle := r.Handle
		r.Handle = func(ctx context.Context, env *sixfold.Envelope) error { return g.handle(ctx, env, handle) }
		return r
	}
	return st
}

// Await has the instance wait for a message that OnAwaited hears of, without a timer. name is what people see of it.
func (fx *Effects) Await(id, name string) {
	switch {
	case fx.over:
	case !fx.knows(name):
		fx.fail(fmt.Errorf("message %s is awaited, and the saga has no step for it; add one that hears of it", quote(name)))
	case fx.room(name):
		fx.in.Timers = append(fx.in.Timers, Timer{ID: id, Type: name})
	}
}

// Refuse has the step fail with err, whatever its function answers.
func (fx *Effects) Refuse(err error) {
	if !fx.over {
		fx.fail(err)
	}
}

// knows reports whether there is a step for a timer of that name.
func (fx *Effects) knows(name string) bool { return slices.Contains(fx.known, name) }
