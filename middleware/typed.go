package middleware

import (
	"context"

	"github.com/sixfold-go/sixfold"
)

// Typed makes a middleware of f, which sees the messages of type M as they are; all others pass it by. In a mediator it is
// handed the value that travels, in a consumer what the body decodes to. f calls next once, or not at all. M is inferred.
func Typed[M sixfold.Message](f func(ctx context.Context, m M, next func(context.Context) error) error) (sixfold.Middleware, error) {
	route := sixfold.RouteOf[M]()
	route.Handle = func(context.Context, *sixfold.Envelope) error { return nil } // it is the type that is asked about
	if err := route.Err(); err != nil {
		return nil, err
	}
	if f == nil {
		return nil, invalid("Typed for %.64q: the function is nil; pass one, or leave the middleware out", route.Name)
	}
	var like M
	return Only(func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			m, err := sixfold.Decode[M](ctx, env)
			if err != nil {
				return err
			}
			return f(ctx, m, func(ctx context.Context) error { return next(ctx, env) })
		}
	}, like), nil
}
