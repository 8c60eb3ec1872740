package middleware

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold"
)

// Recover makes an error of a panic further in: a *sixfold.PanicError, which has the stack. A consumer does so by itself;
// Recover inside of Retry or a Breaker lets these see the panic as an error too. runtime.Goexit goes on.
func Recover() sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("middleware: handler of %.64q: %w", typeOf(env), sixfold.NewPanicError(p))
				}
			}()
			return next(ctx, env)
		}
	}
}

// typeOf is the message's name, also where somebody handed on no envelope.
func typeOf(env *sixfold.Envelope) string {
	if env == nil {
		return ""
	}
	return env.Type
}
