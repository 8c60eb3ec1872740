package mediator

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/sixfold-go/sixfold"
)

// Policy says how the handlers of a notification run.
type Policy int

const (
	// AllAtOnce runs all handlers at the same time, each in a goroutine of its own, and waits for all of them.
	AllAtOnce Policy = iota
	// InOrder runs all handlers one after the other, in the order of their routes, although some fail.
	InOrder
	// StopAtFirst is InOrder until a handler fails; those behind it do not run.
	StopAtFirst
)

// Publish calls all handlers of a notification and answers their errors, joined, each with its handler's name. A panic of
// a handler is an error of its own. None of them is no error. how is the policy of this one, in place of the mediator's.
//
// Each handler has a message id, a context (sixfold.InfoFrom) and a pass through the middleware of its own. Handlers that
// run at once share nothing of the caller's that belongs to one goroutine: to work in the caller's transaction they must
// run InOrder. The message may be in an interface, as those that an aggregate has collected are.
func Publish[N sixfold.Message](ctx context.Context, m *Mediator, n N, how ...Policy) error {
	if m != nil {
		if f, ok := m.entries[any((*N)(nil))].(*fanout[N]); ok {
			if len(how) > 0 {
				return f.publish(ctx, n, how[len(how)-1])
			}
			return f.publish(ctx, n, f.policy)
		}
	}
	return publishOther(ctx, m, n, how)
}

// publishOther looks at the value of n, since its static type has no handlers.
func publishOther[N sixfold.Message](ctx context.Context, m *Mediator, n N, how []Policy) error {
	boxed := any(n)
	v := reflect.ValueOf(boxed)
	switch {
	case m == nil:
		return missing[N](m, notification)
	case !v.IsValid():
		return invalid("publish: the message is nil; pass a message value")
	case v.Kind() == reflect.Pointer:
		return invalid("publish %s: a message is a plain value; pass the %s itself", v.Type(), v.Type().Elem())
	}
	name := n.MessageName()
	e, known := m.names[name]
	switch {
	case known && e.kind == notification && e.goType == v.Type():
		return e.any.(dynamic).publishAny(ctx, boxed, how)
	case known && e.goType == v.Type():
		return fmt.Errorf("mediator: publish %.64q: %w: a %s, handled by %s (%s); use mediator.%s", name, ErrKind, e.kind, e.handler, e.where, e.kind.verb())
	case known:
		return invalid("publish %.64q: %s and %s have this name, and the handlers take the other one; give each type a name of its own", name, v.Type(), e.goType)
	case sixfold.HasResult(n):
		return fmt.Errorf("mediator: publish %.64q: %w: a command or a query, since %s embeds sixfold.Returns; use mediator.Send or mediator.Query", name, ErrKind, v.Type())
	}
	return nil // nobody listens
}

// dynamic is a fanout whose type is not known.
type dynamic interface {
	publishAny(ctx context.Context, n any, how []Policy) error
}

// fanout is what handles a notification.
type fanout[N sixfold.Message] struct {
	name      string
	source    string
	policy    Policy
	listeners []listener[N]
}

type listener[N sixfold.Message] struct {
	name    string
	handle  func(context.Context, N) error
	through sixfold.Handler // nil without middleware
}

func buildFanout[N sixfold.Message](rs []Route, o *Options) any {
	f := &fanout[N]{name: rs[0].name, source: o.Source, policy: o.Policy, listeners: make([]listener[N], len(rs))}
	for i, r := range rs {
		l := &f.listeners[i]
		l.name, l.handle = r.handler, r.handle.(func(context.Context, N) error)
		if mws := o.middleware(r); len(mws) > 0 {
			l.through = sixfold.Chain(l.inside, mws...)
		}
	}
	return f
}

func (l *listener[N]) inside(ctx context.Context, _ *sixfold.Envelope) error {
	n, ok := ctx.Value(callKey{}).(*note[N])
	if !ok {
		return errNoCall
	}
	return l.handle(ctx, n.m)
}

func (f *fanout[N]) publishAny(ctx context.Context, n any, how []Policy) error {
	if len(how) > 0 {
		return f.publish(ctx, n.(N), how[len(how)-1])
	}
	return f.publish(ctx, n.(N), f.policy)
}

func (f *fanout[N]) publish(ctx context.Context, n N, p Policy) error {
	if err := live(ctx); err != nil {
		return err
	}
	switch p {
	case AllAtOnce:
		return f.atOnce(ctx, n)
	case InOrder, StopAtFirst:
		return f.inOrder(ctx, n, p == StopAtFirst)
	}
	return invalid("publish %.64q: Policy %d: give AllAtOnce, InOrder or StopAtFirst", f.name, int(p))
}

func (f *fanout[N]) inOrder(ctx context.Context, n N, stop bool) error {
	var errs []error
	notes := (&publication[N]{ctx: ctx, of: f, m: n}).notes()
	for i := range notes {
		if err := f.call(&notes[i], i); err != nil {
			errs = append(errs, err)
			if stop {
				break
			}
		}
	}
	return errors.Join(errs...)
}

func (f *fanout[N]) atOnce(ctx context.Context, n N) error {
	errs := make([]error, len(f.listeners))
	notes := (&publication[N]{ctx: ctx, of: f, m: n, apart: true}).notes()
	var all sync.WaitGroup
	for i := range notes {
		all.Go(func() {
			exited := true
			defer func() {
				if exited {
					errs[i] = f.named(i, errExited)
				}
			}()
			errs[i] = f.call(&notes[i], i)
			exited = false
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// call runs one handler through its middleware.
func (f *fanout[N]) call(n *note[N], i int) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != nil {
			err = f.named(i, sixfold.NewPanicError(p))
		}
	}()
	l := &f.listeners[i]
	if l.through != nil {
		err = l.through(n, n.Info().Envelope)
	} else {
		err = l.handle(n, n.m)
	}
	returned = true
	if err != nil {
		err = f.named(i, err)
	}
	return err
}

func (f *fanout[N]) named(i int, err error) error {
	return fmt.Errorf("mediator: notification %.64q: handler %s: %w", f.name, f.listeners[i].name, err)
}
