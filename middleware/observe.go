package middleware

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Hooks are where metrics and traces are made. Each may be nil; they are called by many goroutines at once.
type Hooks struct {
	// Begin is called before the handler. What follows runs with the context that it answers, which must be made of ctx: a
	// tracer puts its span there.
	Begin func(ctx context.Context, env *sixfold.Envelope) context.Context
	// End is called after it, with that context, the time that it took and what it answered. A panic that goes by is
	// a *sixfold.PanicError here.
	End func(ctx context.Context, env *sixfold.Envelope, took time.Duration, err error)
}

// Observe calls hooks around each handling. It changes nothing else.
func Observe(hooks Hooks) sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) (err error) {
			start := time.Now()
			if hooks.Begin != nil {
				ctx = hooks.Begin(ctx, env)
			}
			if hooks.End == nil {
				return next(ctx, env)
			}
			returned := false
			defer func() {
				if returned {
					hooks.End(ctx, env, time.Since(start), err)
					return
				}
				p := recover()
				if p == nil { // runtime.Goexit
					hooks.End(ctx, env, time.Since(start), errUnknown)
					return
				}
				hooks.End(ctx, env, time.Since(start), sixfold.NewPanicError(p))
				panic(p)
			}()
			err = next(ctx, env)
			returned = true
			return err
		}
	}
}
