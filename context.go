package sixfold

import (
	"context"
	"slices"
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

type infoKey struct{}

// WithInfo makes info known below ctx. Consumers and tests call it.
func WithInfo(ctx context.Context, info *Info) context.Context {
	return context.WithValue(ctx, infoKey{}, info)
}

// InfoFrom answers what is known about the delivery that ctx belongs to, or nil outside of a handler.
func InfoFrom(ctx context.Context) *Info {
	info, _ := ctx.Value(infoKey{}).(*Info)
	return info
}

type correlationKey struct{}

// WithCorrelation makes what is published below ctx carry the correlation id, for example a request id of HTTP.
// Inside a handler the id of the incoming message's correlation is carried on without it.
func WithCorrelation(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey{}, id)
}

type traceKey struct{}

type trace struct{ parent, state string }

// WithTrace makes what is published below ctx carry a W3C trace context. Inside a handler the incoming message's
// is carried on without it.
func WithTrace(ctx context.Context, traceparent, tracestate string) context.Context {
	return context.WithValue(ctx, traceKey{}, trace{traceparent, tracestate})
}

// Join fills in what env inherits from ctx where it has nothing of its own: the correlation (its own id when it is
// the first of a chain), the causation and the trace.
func Join(ctx context.Context, env *Envelope) {
	info := InfoFrom(ctx)
	if id, ok := ctx.Value(correlationKey{}).(string); ok && env.CorrelationID == "" {
		env.CorrelationID = id
	}
	if t, ok := ctx.Value(traceKey{}).(trace); ok && env.TraceParent == "" {
		env.TraceParent, env.TraceState = t.parent, t.state
	}
	if info != nil && info.Envelope != nil {
		from := info.Envelope
		if env.CorrelationID == "" {
			env.CorrelationID = from.CorrelationID
		}
		if env.CorrelationID == "" {
			env.CorrelationID = from.ID
		}
		if env.CausationID == "" {
			env.CausationID = from.ID
		}
		if env.TraceParent == "" {
			env.TraceParent, env.TraceState = from.TraceParent, from.TraceState
		}
	}
	if env.CorrelationID == "" {
		env.CorrelationID = env.ID
	}
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
