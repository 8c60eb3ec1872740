package sixfold

import (
	"context"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold/internal/inctx"
	"github.com/sixfold-go/sixfold/internal/pass"
)

// ErrNextTwice is the answer of next to a middleware that calls it a second time, or that calls it while it still runs.
// Nothing runs then. A middleware that repeats on purpose says so with Repeats.
var ErrNextTwice = errors.New("sixfold: a middleware called next twice for one message; call it once, or declare with sixfold.Repeats that it repeats")

// Chain wraps h so that the first of mws is outermost. Each of them may call its next once for each message, and one
// that Repeats as often as it likes, but never two at a time: else it gets ErrNextTwice and nothing runs. When the context
// has ended, h is not called.
func Chain(h Handler, mws ...Middleware) Handler {
	c := &chain{}
	own := make([]Middleware, 0, len(mws))
	for _, mw := range mws {
		if mw != nil {
			own = append(own, mw)
		}
	}
	if len(own) == 0 {
		return h
	}
	next := h
	for i := len(own) - 1; i >= 0; i-- {
		if next = own[i](c.once(int32(i), i == len(own)-1, next)); next == nil {
			err := invalid("middleware number %d of %d: it made no handler; answer a func that calls next", i+1, len(own))
			return func(context.Context, *Envelope) error { return err }
		}
	}
	return c.begin(next)
}

// chain is one composed chain.
type chain struct{ id pass.Chain }

// passing is the context of one pass.
type passing struct {
	context.Context
	pass.Pass
}

func (p *passing) Value(key any) any {
	if _, ok := key.(inctx.Pass); ok {
		return &p.Pass
	}
	return p.Context.Value(key)
}

// begin begins a pass for each call: the one that the context brings for it, or a new one.
func (c *chain) begin(first Handler) Handler {
	return func(ctx context.Context, env *Envelope) error {
		if p := passOf(ctx); p != nil && p.Take(&c.id) {
			return first(ctx, env)
		}
		p := &passing{Context: ctx}
		p.Take(&c.id)
		return first(p, env)
	}
}

// once lets next run once in each pass, and the handler, which is the last, only while the context lasts. Below a context
// that does not come from the one that the chain was called with nothing is known, and next runs.
func (c *chain) once(i int32, last bool, next Handler) Handler {
	no := &refusal{c, i}
	return func(ctx context.Context, env *Envelope) error {
		if p := passOf(ctx); p != nil && p.Through(&c.id) && !p.Enter(i) {
			return no
		}
		if last {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("sixfold: the context ended before the handler was called: %w", err)
			}
		}
		return next(ctx, env)
	}
}

// refusal is ErrNextTwice of one layer.
type refusal struct {
	c *chain
	i int32
}

func (r *refusal) Error() string        { return ErrNextTwice.Error() }
func (r *refusal) Is(target error) bool { return target == ErrNextTwice }

func passOf(ctx context.Context) *pass.Pass {
	p, _ := ctx.Value(inctx.Pass{}).(*pass.Pass)
	return p
}

// Repeats declares that mw may call its next several times for one message, one after the other, as a retry does. What is
// further in runs again as a whole.
func Repeats(mw Middleware) Middleware {
	if mw == nil {
		return nil
	}
	return func(next Handler) Handler {
		return mw(func(ctx context.Context, env *Envelope) error { return again(ctx, env, next) })
	}
}

// again calls next, and lets it be called once more when it has returned or panicked. Where next itself refuses, another
// call of it is under way, and it is that one's to go back.
func again(ctx context.Context, env *Envelope, next Handler) (err error) {
	p := passOf(ctx)
	if p == nil {
		return next(ctx, env)
	}
	at := p.At()
	defer func() {
		if r, ok := err.(*refusal); !ok || !p.Through(&r.c.id) || r.i > at {
			p.Back(at)
		}
	}()
	return next(ctx, env)
}
