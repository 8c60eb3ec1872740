package mediator

import (
	"context"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/inctx"
	"github.com/sixfold-go/sixfold/internal/pass"
)

// Send calls the handler of a command, through its middleware, and answers what it answers. The types are inferred.
//
// Errors are the handler's own and those of middleware, as they are; ErrNoHandler and ErrKind; sixfold.ErrInvalid for a
// nil mediator or a message that is no plain value; the context's own when it ended before the handler was called.
func Send[C sixfold.Command[R], R any](ctx context.Context, m *Mediator, c C) (R, error) {
	if m != nil {
		if s, ok := m.entries[any((*C)(nil))].(*single[C, R]); ok && s.kind == command {
			if s.through != nil {
				return s.pass(ctx, c)
			}
			if ctx.Err() == nil {
				return s.handle(ctx, c)
			}
		}
	}
	var none R
	return none, refused[C](ctx, m, command)
}

// Query calls the handler of a query, as Send does that of a command.
func Query[Q sixfold.Query[R], R any](ctx context.Context, m *Mediator, q Q) (R, error) {
	if m != nil {
		if s, ok := m.entries[any((*Q)(nil))].(*single[Q, R]); ok && s.kind == query {
			if s.through != nil {
				return s.pass(ctx, q)
			}
			if ctx.Err() == nil {
				return s.handle(ctx, q)
			}
		}
	}
	var none R
	return none, refused[Q](ctx, m, query)
}

// refused says why a handler was not called.
func refused[M sixfold.Message](ctx context.Context, m *Mediator, k kind) error {
	if m != nil {
		if e, ok := m.names[nameIfPlain[M]()]; ok && e.kind == k && e.key == any((*M)(nil)) {
			return live(ctx)
		}
	}
	return missing[M](m, k)
}

func nameIfPlain[M sixfold.Message]() string {
	name, err := nameOf[M]()
	if err != nil {
		return ""
	}
	return name
}

// single is the one handler of a command or a query.
type single[M sixfold.Message, R any] struct {
	name    string
	kind    kind
	keyed   bool
	handle  func(context.Context, M) (R, error)
	through sixfold.Handler // its middleware around it; nil without any
}

func buildSingle[M sixfold.Message, R any](rs []Route, o *Options) any {
	s := &single[M, R]{name: rs[0].name, kind: rs[0].kind, keyed: isKeyed[M](), handle: rs[0].handle.(func(context.Context, M) (R, error))}
	if mws := o.middleware(rs[0]); len(mws) > 0 {
		s.through = sixfold.Chain(s.inside, mws...)
	}
	return s
}

// call is one call through middleware: its context, its envelope, its message and its result in one piece of memory.
type call[M sixfold.Message, R any] struct {
	context.Context
	pass.Pass
	env    sixfold.Envelope
	m      M
	result R
	filled bool // somebody has set the result
}

type callKey struct{}

// Value implements context.Context.
func (c *call[M, R]) Value(key any) any {
	switch key.(type) {
	case inctx.Pass:
		return &c.Pass
	case callKey:
		return c
	}
	return c.Context.Value(key)
}

// Message implements sixfold.Local.
func (c *call[M, R]) Message() any { return c.m }

func (c *call[M, R]) cell() any {
	c.filled = true
	return &c.result
}

// pass sends m through the middleware. The envelope has the name and the key only: to mint an id and a time would cost more
// than the call, and nobody could ask for them later.
func (s *single[M, R]) pass(ctx context.Context, m M) (R, error) {
	c := &call[M, R]{Context: ctx, m: m}
	c.env.Type = s.name
	if s.keyed {
		c.env.Key = key(&c.m)
	}
	c.env.Carry(c)
	err := s.through(c, &c.env)
	if err == nil && !c.filled && !isEmpty[R]() {
		err = noResult(s.name)
	}
	return c.result, err
}

// inside is what the middleware is around.
func (s *single[M, R]) inside(ctx context.Context, _ *sixfold.Envelope) error {
	c, ok := ctx.Value(callKey{}).(*call[M, R])
	if !ok {
		return errNoCall
	}
	var err error
	c.result, err = s.handle(ctx, c.m)
	c.filled = true
	return err
}

// Cell answers where the result of the call that ctx belongs to is kept, for a middleware that looks at it after next, or
// sets it in place of calling next, as a cache does. It reports false when there is no call, or when its result is no R.
func Cell[R any](ctx context.Context) (*R, bool) {
	c, ok := ctx.Value(callKey{}).(interface{ cell() any })
	if !ok {
		return nil, false
	}
	r, ok := c.cell().(*R)
	return r, ok
}

// Call is Send or Query, as m handles c. It is for packages that carry calls from elsewhere into a mediator.
func Call[C sixfold.Command[R], R any](ctx context.Context, m *Mediator, c C) (R, error) {
	if m != nil {
		if s, ok := m.entries[any((*C)(nil))].(*single[C, R]); ok && s.kind == query {
			return Query(ctx, m, c)
		}
	}
	return Send(ctx, m, c)
}

// Handles says why m has no handler that Call could call for messages of the type of like, or nil. The value of like does
// not matter.
func Handles[C sixfold.Command[R], R any](m *Mediator, like C) error {
	_ = like
	if m != nil {
		if _, ok := m.entries[any((*C)(nil))].(*single[C, R]); ok {
			return nil
		}
	}
	return missing[C](m, command)
}
