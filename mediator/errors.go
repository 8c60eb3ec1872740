package mediator

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/sixfold-go/sixfold"
)

// Errors of a call. They are told apart with errors.Is.
var (
	// ErrNoHandler says that no route handles the command or the query.
	ErrNoHandler = errors.New("it has no handler")
	// ErrKind says that the message is handled, but as another kind: a query that was sent as a command, for example.
	ErrKind = errors.New("it is another kind of message")
	// ErrNoResult says that a middleware ended the call without an error and without a result; Cell sets one.
	ErrNoResult = errors.New("a middleware answered nil and there is no result; let it call next, answer an error, or set the result with mediator.Cell")
)

var (
	errExited = errors.New("it ended its goroutine (runtime.Goexit); let it return an error instead")
	errNoCall = errors.New("mediator: a middleware handed on a context that is not made of the one it was given; pass that on, or one made of it")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("mediator: %w "+format, append([]any{sixfold.ErrInvalid}, args...)...)
}

// ended is the error of a call whose context has ended before its handler began.
func ended(err error) error {
	return fmt.Errorf("mediator: the context ended before the handler was called: %w", err)
}

// missing says why m has no entry for messages of type M that are used like kind k.
func missing[M sixfold.Message](m *Mediator, k kind) error {
	verb, t := strings.ToLower(k.verb()), reflect.TypeFor[M]()
	name, err := nameOf[M]()
	switch {
	case m == nil:
		return invalid("%s %s: the mediator is nil; make one with mediator.New, and look at its error", verb, t)
	case t.Kind() == reflect.Pointer:
		return invalid("%s %s: a message is a plain value; pass the %s itself", verb, t, t.Elem())
	case t.Kind() == reflect.Interface:
		return invalid("%s %s: it is an interface; pass the message as the type that its handler takes", verb, t)
	case err != nil:
		return fmt.Errorf("mediator: %s %s: %w", verb, t, err)
	}
	e, known := m.names[name]
	switch {
	case known && e.goType != t:
		return fmt.Errorf("mediator: %s %.64q: %w for %s, and %s has the same name; give each type a name of its own", verb, name, ErrNoHandler, t, e.goType)
	case known:
		return fmt.Errorf("mediator: %s %.64q: %w: a %s, handled by %s (%s); use mediator.%s", verb, name, ErrKind, e.kind, e.handler, e.where, e.kind.verb())
	}
	return fmt.Errorf("mediator: %s %.64q: %w; give mediator.New a route made with mediator.%s", verb, name, ErrNoHandler, k.maker())
}

// live answers nil, or the error of a context that has ended.
func live(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return ended(err)
	}
	return nil
}
