package middleware

import (
	"context"
	"fmt"

	"github.com/sixfold-go/sixfold"
)

// Validator is a message that knows what makes it valid.
type Validator interface {
	// Validate says everything that is wrong with the message. It shows no secrets: its text is logged.
	Validate() error
}

// Validate refuses a message whose own method Validate says no: with an error that wraps sixfold.ErrInvalid and what Validate
// said, and is Permanent. It needs the value, so it is for mediators; messages without the method pass. Consumers have
// bytes: see ValidateAs.
func Validate() sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			if v, ok := env.Message().(Validator); ok {
				if err := check(v, env); err != nil {
					return err
				}
			}
			return next(ctx, env)
		}
	}
}

// ValidateAs is Validate for the messages of one type, which it decodes where they come from a consumer. All others pass.
// The value of like does not matter, only its type.
func ValidateAs[M interface {
	sixfold.Message
	Validator
}](like M) sixfold.Middleware {
	_ = like
	return Only(func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			m, err := sixfold.Decode[M](ctx, env)
			if err != nil {
				return err
			}
			if err := check(m, env); err != nil {
				return err
			}
			return next(ctx, env)
		}
	}, like)
}

func check(v Validator, env *sixfold.Envelope) error {
	if err := v.Validate(); err != nil {
		return sixfold.Permanent(fmt.Errorf("middleware: %w message %.64q: its sender must mend it: %w", sixfold.ErrInvalid, env.Type, err))
	}
	return nil
}
