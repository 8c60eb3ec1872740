package mediator

import (
	"context"
	"fmt"
	"iter"

	"github.com/sixfold-go/sixfold"
)

// Stream answers the sequence of a streaming query. Nothing runs before it is ranged over, and each ranging is a call of
// its own. The middleware is around the whole of it, so a transaction or a timeout lasts until the last element.
//
// An error ends the sequence; it comes as the last pair, with the zero T. Errors are those of Query. When the loop is left
// early, the handler's sequence is told to stop, and that is no error.
func Stream[Q sixfold.Query[iter.Seq2[T, error]], T any](ctx context.Context, m *Mediator, q Q) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		err := func() error {
			if m != nil {
				if s, ok := m.entries[any((*Q)(nil))].(*streamed[Q, T]); ok {
					if err := live(ctx); err != nil {
						return err
					}
					return s.run(ctx, q, yield)
				}
			}
			return missing[Q](m, stream)
		}()
		if err != nil && err != errLeft {
			var none T
			yield(none, err)
		}
	}
}

// Elements answers what calls m's handler of the streaming query that like is, with elements of any type, and whether m has one. It is
// for packages that carry streams elsewhere. The value of like does not matter.
func Elements[Q sixfold.Message](m *Mediator, like Q) (stream func(ctx context.Context, q Q) iter.Seq2[any, error], ok bool) {
	_ = like
	if m == nil {
		return nil, false
	}
	s, ok := m.entries[any((*Q)(nil))].(interface {
		elements(ctx context.Context, q Q) iter.Seq2[any, error]
	})
	if !ok {
		return nil, false
	}
	return s.elements, true
}

func (s *streamed[Q, T]) elements(ctx context.Context, q Q) iter.Seq2[any, error] {
	return func(yield func(any, error) bool) {
		err := live(ctx)
		if err == nil {
			err = s.run(ctx, q, func(v T, _ error) bool { return yield(v, nil) })
		}
		if err != nil && err != errLeft {
			yield(nil, err)
		}
	}
}

// errLeft says that the loop was left while middleware still made an error of it: nobody is there to take it.
var errLeft = fmt.Errorf("mediator: the loop over the stream was left")

// streamed is the one handler of a streaming query.
type streamed[Q sixfold.Message, T any] struct {
	name    string
	handle  func(context.Context, Q) iter.Seq2[T, error]
	through sixfold.Handler // nil without middleware
}

func buildStream[Q sixfold.Query[iter.Seq2[T, error]], T any](rs []Route, o *Options) any {
	s := &streamed[Q, T]{name: rs[0].name, handle: rs[0].handle.(func(context.Context, Q) iter.Seq2[T, error])}
	if mws := o.middleware(rs[0]); len(mws) > 0 {
		s.through = sixfold.Chain(s.inside, mws...)
	}
	return s
}

// flow is where the elements of one ranging go.
type flow[T any] struct {
	yield func(T, error) bool
	count int   // elements that were yielded
	first error // that ended it
	left  bool  // the loop was left
}

func (s *streamed[Q, T]) run(ctx context.Context, q Q, yield func(T, error) bool) error {
	f := &flow[T]{yield: yield}
	if s.through == nil {
		return s.drain(ctx, q, f)
	}
	c := &call[Q, *flow[T]]{Context: ctx, m: q, result: f, filled: true}
	c.env.Type, c.env.Key = s.name, key(&c.m)
	c.env.Carry(c)
	err := s.through(c, &c.env)
	if f.left {
		return errLeft
	}
	return err
}

func (s *streamed[Q, T]) inside(ctx context.Context, _ *sixfold.Envelope) error {
	c, ok := ctx.Value(callKey{}).(*call[Q, *flow[T]])
	if !ok {
		return errNoCall
	}
	return s.drain(ctx, c.m, c.result)
}

// drain hands the elements of the handler's sequence on.
func (s *streamed[Q, T]) drain(ctx context.Context, q Q, f *flow[T]) error {
	if f.count > 0 || f.left {
		return fmt.Errorf("mediator: stream %.64q: it cannot be repeated after %d elements were handed on: %w", s.name, f.count, f.first)
	}
	for v, err := range s.handle(ctx, q) {
		if err != nil {
			f.first = err
			return err
		}
		f.count++
		if !f.yield(v, nil) {
			f.left = true
			return nil
		}
	}
	return nil
}
