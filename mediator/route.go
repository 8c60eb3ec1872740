package mediator

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path"
	"reflect"
	"runtime"
	"slices"
	"strings"

	"github.com/sixfold-go/sixfold"
)

// A Route binds a message to a handler. OnCommand, OnPlain, OnQuery, OnStream and OnNotification make routes; New takes
// them. It is a value: its methods answer a changed copy.
type Route struct {
	name    string
	kind    kind
	goType  reflect.Type
	key     any    // (*M)(nil), which finds the entry of a type without a look at a value
	handler string // its name, for people
	where   string // file:line of the route
	mws     []sixfold.Middleware
	handle  any // func(context.Context, M) …
	build   func(rs []Route, o *Options) any
	err     error
}

type kind int

const (
	command kind = iota
	query
	stream
	notification
)

func (k kind) String() string {
	return [...]string{"command", "query", "stream", "notification"}[k]
}

// verb is the function that takes a message of this kind.
func (k kind) verb() string {
	return [...]string{"Send", "Query", "Stream", "Publish"}[k]
}

// maker is the function that makes routes of this kind.
func (k kind) maker() string {
	return [...]string{"OnCommand", "OnQuery", "OnStream", "OnNotification"}[k]
}

// OnCommand makes the route of a command, whose handler answers its result. Both types are inferred.
func OnCommand[C sixfold.Command[R], R any](h func(ctx context.Context, c C) (R, error)) Route {
	r := routeOf[C](command, h, h == nil)
	r.build = buildSingle[C, R]
	return r
}

// OnPlain is OnCommand for a command without a result: one that embeds sixfold.Returns[struct{}].
func OnPlain[C sixfold.Command[struct{}]](h func(ctx context.Context, c C) error) Route {
	r := routeOf[C](command, h, h == nil)
	r.handle = func(ctx context.Context, c C) (struct{}, error) { return struct{}{}, h(ctx, c) }
	r.build = buildSingle[C, struct{}]
	return r
}

// OnQuery makes the route of a query, whose handler answers its result.
func OnQuery[Q sixfold.Query[R], R any](h func(ctx context.Context, q Q) (R, error)) Route {
	r := routeOf[Q](query, h, h == nil)
	r.build = buildSingle[Q, R]
	return r
}

// OnStream makes the route of a query whose answer is a sequence: it embeds sixfold.Returns[iter.Seq2[T, error]]. The
// first error that the sequence yields ends it.
func OnStream[Q sixfold.Query[iter.Seq2[T, error]], T any](h func(ctx context.Context, q Q) iter.Seq2[T, error]) Route {
	r := routeOf[Q](stream, h, h == nil)
	r.build = buildStream[Q, T]
	return r
}

// OnNotification makes a route of a notification, of which there may be any number: each message goes to all of them.
func OnNotification[N sixfold.Message](h func(ctx context.Context, n N) error) Route {
	r := routeOf[N](notification, h, h == nil)
	var zero N
	if r.err == nil && sixfold.HasResult(zero) {
		r.err = invalid("route %.64q (%s): %s embeds sixfold.Returns, so it is a command or a query; use OnCommand or OnQuery, or leave Returns out",
			r.name, r.where, r.goType)
	}
	r.build = buildFanout[N]
	return r
}

// With wraps the route's handler in mws, inside the mediator's own middleware. The first is the outermost.
func (r Route) With(mws ...sixfold.Middleware) Route {
	for i, mw := range mws {
		if mw == nil {
			r.err = errors.Join(r.err, invalid("route %.64q (%s): middleware number %d is nil; leave it out, or look at the error of what made it", r.name, r.where, i+1))
		}
	}
	r.mws = append(slices.Clone(r.mws), mws...)
	return r
}

// Named gives the handler a name for errors, in place of that of its function.
func (r Route) Named(name string) Route {
	r.handler = name
	return r
}

// routeOf is what all kinds have in common. The function that calls it is called by the user.
func routeOf[M sixfold.Message](k kind, h any, missing bool) Route {
	r := Route{kind: k, goType: reflect.TypeFor[M](), key: any((*M)(nil)), handle: h, where: callerAt(3)}
	if r.name, r.err = nameOf[M](); r.err != nil {
		r.err = fmt.Errorf("mediator: route at %s: %w", r.where, r.err)
	}
	if missing {
		r.err = errors.Join(r.err, invalid("route %.64q (%s): the handler is nil; pass a function that takes a context and a %s", r.name, r.where, r.goType))
		return r
	}
	r.handler = functionName(h)
	return r
}

// nameOf answers the name of M, or what is wrong with M.
func nameOf[M sixfold.Message]() (string, error) {
	r := sixfold.RouteOf[M]()
	r.Handle = func(context.Context, *sixfold.Envelope) error { return nil } // it is not the route that is asked about
	return r.Name, r.Err()
}

// callerAt is file:line of the code skip frames further out.
func callerAt(skip int) string {
	_, file, line, ok := runtime.Caller(skip)
	if !ok {
		return "unknown place"
	}
	return fmt.Sprintf("%s:%d", file, line)
}

// functionName is "shop.(*Mailer).Placed" for a method of that name.
func functionName(h any) string {
	f := runtime.FuncForPC(reflect.ValueOf(h).Pointer())
	if f == nil {
		return "unknown function"
	}
	return strings.TrimSuffix(path.Base(f.Name()), "-fm")
}
