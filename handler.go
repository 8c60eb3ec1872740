package sixfold

import "context"

// A Handler processes one envelope. Returning nil settles it; an error makes it a failed attempt, unless the error
// is marked by Permanent (no more attempts) or RetryAfter (the next one not before).
// It may be called by many goroutines at once and must not keep env after it returns.
type Handler func(ctx context.Context, env *Envelope) error

// A BatchHandler processes several envelopes in one go: all of them, or, when it returns an error, none.
type BatchHandler func(ctx context.Context, envs []*Envelope) error

// Middleware wraps a Handler: what it answers does its own work around a call of next. The same type serves mediators,
// consumers and routes. The first one in a list is the outermost. Chain says how often next may be called.
type Middleware func(next Handler) Handler
