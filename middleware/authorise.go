package middleware

import (
	"context"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold"
)

// ErrForbidden says that Authorise did not let a message pass.
var ErrForbidden = errors.New("it is not allowed")

// Authorise asks allowed before the handler runs. False is an error that wraps ErrForbidden and is Permanent. An error says
// that it could not be decided: the handler does not run, and the error goes on as it is, so that a consumer tries again.
// Who sends is what the application put into the context, or into a header that it trusts.
func Authorise(allowed func(ctx context.Context, env *sixfold.Envelope) (bool, error)) (sixfold.Middleware, error) {
	if allowed == nil {
		return nil, invalid("Authorise: the function is nil, so nobody would be asked; pass one, or leave the middleware out")
	}
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			switch ok, err := allowed(ctx, env); {
			case err != nil:
				return fmt.Errorf("middleware: authorise %.64q: %w", typeOf(env), err)
			case !ok:
				return sixfold.Permanent(fmt.Errorf("middleware: authorise %.64q: %w; give the caller the right, or do not send it", typeOf(env), ErrForbidden))
			}
			return next(ctx, env)
		}
	}, nil
}
