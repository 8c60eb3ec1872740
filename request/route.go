package request

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

// A Route binds a command or a query to a handler that answers it. On, OnStream and Mediated make routes, Serve takes them. It is a
// value: its methods answer a changed copy.
type Route struct {
	name   string
	former []string
	at     []string
	handle func(ctx context.Context, env *sixfold.Envelope) (any, error)
	stream bool // handle answers by the items that it sends
	mws    []sixfold.Middleware
	// maintain runs beside the responder; nil: nothing does.
	maintain func(ctx context.Context)
	err      error
}

// On makes a Route of a function. Both types are inferred. The function's context ends with the caller's deadline, and, best
// effort, when the caller cancels the call.
func On[C sixfold.Command[R], R any](h func(ctx context.Context, c C) (R, error)) Route {
	r := routeOf[C]()
	if h == nil {
		r.err = errors.Join(r.err, invalid("route %.64q: the handler is nil; pass a function that takes a context and the message", r.name))
		return r
	}
	if reflect.TypeFor[R]().Kind() == reflect.Func {
		r.err = errors.Join(r.err, invalid("route %.64q: its answer is a function; where that is a stream, make the route with request.OnStream", r.name))
	}
	r.handle = func(ctx context.Context, env *sixfold.Envelope) (any, error) {
		c, err := sixfold.Decode[C](ctx, env)
		if err != nil {
			return nil, err
		}
		return h(ctx, c)
	}
	return r
}

// Mediated makes a Route of the handler that m has for messages of the type of like, with its middleware. The value of like
// does not matter. That of a streaming query is asked with Stream.
func Mediated[C sixfold.Command[R], R any](m *mediator.Mediator, like C) Route {
	if h, ok := mediator.Elements(m, like); ok {
		return streamRoute(h)
	}
	r := On(func(ctx context.Context, c C) (R, error) { return mediator.Call(ctx, m, c) })
	if err := mediator.Handles(m, like); err != nil {
		r.err = errors.Join(r.err, fmt.Errorf("request: route %.64q: %w", r.name, err))
	}
	return r
}

func routeOf[C sixfold.Message]() Route {
	of := sixfold.RouteOf[C]()
	of.Handle = func(context.Context, *sixfold.Envelope) error { return nil } // it is not the route that is asked about
	r := Route{name: of.Name, former: of.Former, at: append([]string{of.Name}, of.Former...)}
	if err := of.Err(); err != nil {
		r.err = fmt.Errorf("request: route: %w", err)
	}
	return r
}

// At listens at another destination than the message's name and its former names.
func (r Route) At(destination string) Route {
	r.at = []string{destination}
	return r
}

// With wraps the route's handler in mws, inside the responder's own middleware. The first is the outermost.
func (r Route) With(mws ...sixfold.Middleware) Route {
	r.mws = append(slices.Clone(r.mws), mws...)
	return r
}
