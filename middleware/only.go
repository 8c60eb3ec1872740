package middleware

import (
	"context"

	"github.com/sixfold-go/sixfold"
)

// Only applies mw to messages of the types of ms, under their former names too, and lets all others pass it by. Nil mw
// stays nil. The values of ms do not matter, only their types.
func Only(mw sixfold.Middleware, ms ...sixfold.Message) sixfold.Middleware {
	names := namesOf(ms)
	return When(mw, func(env *sixfold.Envelope) bool { return names[typeOf(env)] })
}

// Except applies mw to all messages but those of the types of ms.
func Except(mw sixfold.Middleware, ms ...sixfold.Message) sixfold.Middleware {
	names := namesOf(ms)
	return When(mw, func(env *sixfold.Envelope) bool { return !names[typeOf(env)] })
}

// When applies mw to the messages that applies accepts. It is asked once for each handling, by many goroutines at once.
func When(mw sixfold.Middleware, applies func(env *sixfold.Envelope) bool) sixfold.Middleware {
	if mw == nil || applies == nil {
		return nil
	}
	return func(next sixfold.Handler) sixfold.Handler {
		through := mw(next)
		return func(ctx context.Context, env *sixfold.Envelope) error {
			if applies(env) {
				return through(ctx, env)
			}
			return next(ctx, env)
		}
	}
}

func namesOf(ms []sixfold.Message) map[string]bool {
	names := make(map[string]bool, len(ms))
	for _, m := range ms {
		if m == nil {
			continue
		}
		names[m.MessageName()] = true
		if e, ok := m.(sixfold.Evolved); ok {
			for _, former := range e.MessageHistory() {
				names[former.Name] = true
			}
		}
	}
	return names
}
