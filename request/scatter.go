package request

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/sixfold-go/sixfold"
)

// maxWant is how many answers a scattered request takes.
const maxWant = 1024

// Want ends a scattered request when so many have answered, faults among them. 1 to 1024; else 1024. It is for Scatter.
func Want(answers int) Option {
	return func(c *call) {
		if answers < 1 || answers > maxWant {
			c.err = errors.Join(c.err, invalid("option Want: it is %d; give 1 to %d, or leave it out", answers, maxWant))
		}
		c.want = answers
	}
}

// Scattered is a request to all who listen at a destination: see Scatter. It belongs to one goroutine.
type Scattered[R any] struct {
	ask        func(s *Scattered[R], yield func(Answered[R]) bool)
	err        error
	byDeadline bool
}

// Scatter asks all responders that listen at the destination of m's name, and collects what they answer until the deadline of ctx, or the
// client's default: nobody knows how many they are. Want ends it earlier. Nothing is sent before Answers is ranged over.
//
// Each responder answers at most once, with a result or a fault, which is an answer like any other; an answer that the network doubled
// comes once. At most as many answers are held as are wanted. When it ends before the deadline, those that still work are told, where they are reached.
// The lane's Capabilities have to say Scatters. Options are those of Send but Retry.
func Scatter[C sixfold.Command[R], R any](ctx context.Context, client *Client, m C, opts ...Option) *Scattered[R] {
	return &Scattered[R]{ask: func(s *Scattered[R], yield func(Answered[R]) bool) {
		if client == nil {
			s.err = invalid("scatter %T: the client is nil; make one with request.NewClient, and look at its error", m)
			return
		}
		begun := time.Now()
		left := false
		f, err := client.flow(ctx, m, true, opts, func(f *flow, p *Packet) (bool, error) {
			a := answered[R](client, f, p)
			a.Took = time.Since(begun)
			left = !yield(a)
			return !left, nil
		})
		if s.byDeadline = errors.Is(err, ErrTimeout); err != nil && !left && !s.byDeadline {
			s.err = about(f.name, f.to, err)
		}
	}}
}

// answered is what one of many has replied.
func answered[R any](c *Client, f *flow, p *Packet) Answered[R] {
	a := Answered[R]{To: f.to, From: p.Envelope.Issuer()}
	if a.From == "" {
		a.From = p.Envelope.Source
	}
	if p.Status != statusOK {
		a.Err = f.fault(p)
	} else if a.Err = c.decode(p, &a.Result); a.Err != nil {
		var none R
		a.Result, a.Err = none, about(f.name, f.to, a.Err)
	}
	return a
}

// Answers asks, and answers each responder's outcome as it comes, until as many have answered as are wanted, or the deadline has passed. Each
// ranging asks anew.
func (s *Scattered[R]) Answers() iter.Seq[Answered[R]] {
	return func(yield func(Answered[R]) bool) {
		s.err, s.byDeadline = nil, false
		s.ask(s, yield)
	}
}

// Collect asks and answers all outcomes, with the error that Err has.
func (s *Scattered[R]) Collect() ([]Answered[R], error) {
	var all []Answered[R]
	for a := range s.Answers() {
		all = append(all, a)
	}
	return all, s.err
}

// ByDeadline reports whether the last asking ended because its deadline passed: there may be others that would have answered. That is no error.
func (s *Scattered[R]) ByDeadline() bool { return s.byDeadline }

// Err says why the last asking could not go on until its deadline or until enough had answered, or nil: ErrNoResponder, ErrCancelled, ErrLost,
// ErrClosed, ErrAtCapacity and those that say that nothing was sent, as Send has them.
func (s *Scattered[R]) Err() error { return s.err }
