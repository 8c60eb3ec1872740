package middleware

import (
	"context"
	"log/slog"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Logging logs each handling: entering at the debug level, completed with the time that it took at the info level, failed
// with the error at the error level. It shows the envelope's attributes, never a body or a value. log nil is
// slog.Default() at the time of the call.
func Logging(log *slog.Logger) sixfold.Middleware {
	return func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			log := log
			if log == nil {
				log = slog.Default()
			}
			start := time.Now()
			if log.Enabled(ctx, slog.LevelDebug) {
				log.LogAttrs(ctx, slog.LevelDebug, "middleware: entering", about(ctx, env)...)
			}
			err := next(ctx, env)
			switch {
			case err != nil:
				log.LogAttrs(ctx, slog.LevelError, "middleware: failed", append(about(ctx, env), slog.Duration("elapsed", time.Since(start)), slog.Any("error", err))...)
			case log.Enabled(ctx, slog.LevelInfo):
				log.LogAttrs(ctx, slog.LevelInfo, "middleware: completed", append(about(ctx, env), slog.Duration("elapsed", time.Since(start)))...)
			}
			return err
		}
	}
}

// about says which message it is, and in a consumer which attempt.
func about(ctx context.Context, env *sixfold.Envelope) []slog.Attr {
	attrs := make([]slog.Attr, 0, 7)
	attrs = append(attrs, slog.Any("message", env))
	inherited := sixfold.Envelope{}
	if env != nil {
		inherited.CorrelationID = env.CorrelationID
	}
	if inherited.CorrelationID == "" {
		sixfold.Join(ctx, &inherited) // a command has none of its own
	}
	if inherited.CorrelationID != "" {
		attrs = append(attrs, slog.String("correlation_id", inherited.CorrelationID))
	}
	if info := sixfold.InfoFrom(ctx); info != nil && info.Consumer != "" {
		attrs = append(attrs, slog.String("consumer", info.Consumer), slog.Int("attempt", info.Attempt))
	}
	return attrs
}
