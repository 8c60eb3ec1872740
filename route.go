package sixfold

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// A Route binds a message name to a handler. On, Raw and packages like inbox make routes; consumers take them.
// A Route is a value: the methods that change it answer a changed copy.
type Route struct {
	// Name is the wire name that is handled; empty for a route that takes every message no other route names.
	Name string
	// Former are past names of the same message, handled as well.
	Former []string
	// Handle handles one envelope. Never nil in a usable route.
	Handle Handler
	// Batch handles several envelopes at once, or is nil. Handle is then used for single envelopes, and for each
	// envelope of a batch that failed.
	Batch BatchHandler
	// BatchSize bounds a batch, at most 10,000; 0 means 50.
	BatchSize int
	// Inbox is what remembers the messages that the handler has handled: a bus.Inbox, or nil. Package inbox sets it; a
	// consumer without one in its options takes that of its routes.
	Inbox any
	// MaxConcurrent bounds how many handlers of this route run at once in one consumer; 0 means no bound of its own.
	MaxConcurrent int
	// Retry is what follows a failed attempt of this route; what it leaves open is the consumer's.
	Retry Retry

	mws []Middleware
	err error
}

// maxBatch bounds what one transaction of a handler holds.
const maxBatch = 10_000

// On makes a Route from a typed handler; M is inferred.
func On[M Message](h func(ctx context.Context, m M) error) Route {
	r := RouteOf[M]()
	if h == nil {
		return r.Refuse(invalid("route %s: the handler is nil; pass a func(context.Context, %s) error", quote(r.Name), reflect.TypeFor[M]()))
	}
	r.Handle = func(ctx context.Context, env *Envelope) error {
		m, err := Decode[M](ctx, env)
		if err != nil {
			return err
		}
		return h(ctx, m)
	}
	return r
}

// Raw makes a Route that takes every message no other route of the same consumer names, undecoded.
func Raw(h Handler) Route {
	r := Route{Handle: h}
	if h == nil {
		return r.Refuse(invalid("raw route: the handler is nil; pass a func(context.Context, *sixfold.Envelope) error"))
	}
	return r
}

// RawNamed is Raw for the message called name only.
func RawNamed(name string, h Handler) Route {
	r := Raw(h)
	r.Name = name
	return r.Refuse(CheckMessageName(name))
}

// RouteOf makes a Route for M without a handler, with M's names filled in. It is meant for packages that make
// routes of their own. What is wrong with M (a pointer type, a bad name) is kept for Err.
func RouteOf[M Message]() Route {
	t := reflect.TypeFor[M]()
	if t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface {
		return Route{Name: t.String()}.Refuse(invalid(
			"route for %s: a message is a plain value, not a pointer or an interface; handle %s and give MessageName a value receiver", t, elem(t)))
	}
	name, history, err := namesOf[M]()
	if err != nil {
		return Route{Name: t.String()}.Refuse(err)
	}
	r := Route{Name: name}
	err = CheckMessageName(r.Name)
	for _, f := range history {
		if cerr := CheckMessageName(f.Name); cerr != nil {
			err = errors.Join(err, fmt.Errorf("sixfold: history of %s: %w", t, cerr))
			continue
		}
		if f.Name == r.Name || slices.Contains(r.Former, f.Name) {
			err = errors.Join(err, invalid("history of %s: the name %s stands for two forms of the body; give each form a name of its own", t, quote(f.Name)))
			continue
		}
		r.Former = append(r.Former, f.Name)
	}
	return r.Refuse(err)
}

// namesOf asks the zero value of M, which a method that was not written for it may answer with a panic.
func namesOf[M Message]() (name string, history []Former, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = invalid("route for %s: its zero value cannot tell its names (panic: %v); let MessageName and MessageHistory answer the same for every value", reflect.TypeFor[M](), p)
		}
	}()
	var zero M
	return zero.MessageName(), historyOf(zero), nil
}

func elem(t reflect.Type) string {
	if t.Kind() == reflect.Pointer {
		return t.Elem().String()
	}
	return "a struct type"
}

// With wraps the route's handler in mws, inside the consumer's own middleware. The first is the outermost.
// A batch counts as one call of none of them: a route with middleware of its own handles one envelope at a time.
func (r Route) With(mws ...Middleware) Route {
	r.mws = append(slices.Clone(r.mws), mws...)
	r.Batch = nil
	return r
}

// Limit bounds how many handlers of this route run at once in one consumer.
func (r Route) Limit(n int) Route {
	r.MaxConcurrent = n
	return r
}

// Retrying sets what follows a failed attempt of this route, in place of the consumer's policy.
func (r Route) Retrying(p Retry) Route {
	r.Retry = p
	return r
}

// Handler is Handle wrapped in the route's own middleware.
func (r Route) Handler() Handler { return Chain(r.Handle, r.mws...) }

// Refuse records err as a reason why the route cannot be used; a nil err changes nothing.
func (r Route) Refuse(err error) Route {
	if err != nil {
		r.err = errors.Join(r.err, err)
	}
	return r
}

// Err says everything that is wrong with the route. Constructors that take routes report it.
func (r Route) Err() error {
	err := r.err
	if err == nil && r.Handle == nil {
		err = invalid("route %s: it has no handler; make routes with On or Raw", quote(r.Name))
	}
	if r.MaxConcurrent < 0 {
		err = errors.Join(err, invalid("route %s: a limit of %d handlers at once; give 1 or more, or 0 for no limit", quote(r.Name), r.MaxConcurrent))
	}
	if r.BatchSize < 0 || r.BatchSize > maxBatch {
		err = errors.Join(err, invalid("route %s: a batch of %d; give 1 to %d, or 0 for 50", quote(r.Name), r.BatchSize, maxBatch))
	}
	if rerr := r.Retry.Check(); rerr != nil {
		err = errors.Join(err, fmt.Errorf("sixfold: route %s: %w", quote(r.Name), rerr))
	}
	return err
}
