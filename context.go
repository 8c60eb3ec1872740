package sixfold

import (
	"context"
	"slices"

	"github.com/sixfold-go/sixfold/internal/inctx"
)

// Info is what a handler may know about the delivery it works on.
type Info struct {
	// Envelope is what is being handled; for a batch, its first. Read it only.
	Envelope *Envelope
	// Envelopes are all of a batch that the handler was given, in its order; nil when it is a single one.
	Envelopes []*Envelope
	// Topic is where it came from; for a local destination, the consumer's own name.
	Topic string
	// Consumer is the name of the consumer (its group) that runs the handler.
	Consumer string
	// Attempt counts from 1. With a database behind the consumer it survives the process.
	Attempt int
	// Redelivered says that the message may have been handed to a handler before.
	Redelivered bool
}

// WithInfo makes info known below ctx. Consumers and tests call it.
func WithInfo(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, inctx.Info{}, info)
}

// InfoFrom answers what is known about the delivery that ctx belongs to, or nil outside of a handler.
func InfoFrom(ctx context.Context) *Info {
	info, _ := ctx.Value(inctx.Info{}).(*Info)
	return info
}

// handled is the envelope whose handler ctx belongs to, or nil.
func handled(ctx context.Context) *Envelope {
	if info := InfoFrom(ctx); info != nil {
		return info.Envelope
	}
	return nil
}

type correlationKey struct{}

// correlation and trace remember the envelope they were set for: what was set around a consumer, for example for
// the whole process, is none of its messages' own.
type correlation struct {
	id     string
	within *Envelope
}

// WithCorrelation makes what is published below ctx carry the correlation id, for example a request id of HTTP.
// Inside a handler the incoming message's correlation is carried on without it, and what was set outside of the
// handler does not count. An id that cannot be sent (see CheckEnvelope) makes publishing fail.
func WithCorrelation(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey{}, correlation{id, handled(ctx)})
}

type traceKey struct{}

type trace struct {
	parent, state string
	within        *Envelope
}

// WithTrace makes what is published below ctx carry a W3C trace context. Inside a handler the incoming message's
// is carried on without it, and what was set outside of the handler does not count. One that breaks the
// specification is not carried, as that asks for, and fails nothing.
func WithTrace(ctx context.Context, traceparent, tracestate string) context.Context {
	return context.WithValue(ctx, traceKey{}, trace{traceparent, tracestate, handled(ctx)})
}

// Join fills in what env inherits from ctx where it has nothing of its own: the correlation (its own id when it is
// the first of a chain), the causation and the trace. An id from the wire that may not be sent on is left out.
func Join(ctx context.Context, env *Envelope) {
	from := handled(ctx)
	if c, ok := ctx.Value(correlationKey{}).(correlation); ok && c.within == from && env.CorrelationID == "" {
		env.CorrelationID = c.id
	}
	if t, ok := ctx.Value(traceKey{}).(trace); ok && t.within == from {
		joinTrace(env, t.parent, t.state)
	}
	if from != nil {
		if env.CorrelationID == "" {
			env.CorrelationID = inheritable(from.CorrelationID)
		}
		if env.CorrelationID == "" {
			env.CorrelationID = inheritable(from.ID)
		}
		if env.CausationID == "" {
			env.CausationID = inheritable(from.ID)
		}
		joinTrace(env, from.TraceParent, from.TraceState)
	}
	if env.CorrelationID == "" {
		env.CorrelationID = env.ID
	}
}

// inheritable is s, or nothing where s would make the envelope that inherits it unfit to be published: a sender's
// odd id must not fail its receiver.
func inheritable(s string) string {
	if !isPlain(s) && checkText("", s) != nil {
		return ""
	}
	return s
}

// ForEnvelope is a context inside a batch handler for what one of its envelopes causes: what is published with it
// carries that envelope's correlation, causation and trace.
func ForEnvelope(ctx context.Context, env *Envelope) context.Context {
	info := InfoFrom(ctx)
	if info == nil {
		return WithInfo(ctx, &Info{Envelope: env, Attempt: 1})
	}
	one := *info
	one.Envelope = env
	if !slices.Contains(info.Envelopes, env) {
		one.Envelopes = nil
	}
	return WithInfo(ctx, &one)
}
