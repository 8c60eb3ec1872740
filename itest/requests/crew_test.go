package requests

import (
	"context"
	"errors"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/request"
)

// work is answered by twice its number, at once or when it is released.
type work struct {
	sixfold.Returns[worked] `json:"-"`

	N    int
	Hold bool
	Ever bool // it is not released
}

func (work) MessageName() string { return "requests.work" }

type worked struct{ N, Pid int }

// release lets all that is held go.
type release struct {
	sixfold.Returns[worked] `json:"-"`
}

func (release) MessageName() string { return "requests.release" }

// numbers is a stream without end.
type numbers struct {
	sixfold.Returns[iter.Seq2[worked, error]] `json:"-"`
}

func (numbers) MessageName() string { return "requests.numbers" }

// crew is what a responder's handlers share.
type crew struct {
	ran      func(id string) // a handler has begun
	released chan struct{}
	once     sync.Once
	holding  atomic.Int64
}

func newCrew(ran func(id string)) *crew { return &crew{ran: ran, released: make(chan struct{})} }

func (c *crew) release() { c.once.Do(func() { close(c.released) }) }

func (c *crew) routes() []request.Route {
	pid := os.Getpid()
	return []request.Route{
		request.On(func(ctx context.Context, w work) (worked, error) {
			c.ran(sixfold.InfoFrom(ctx).Envelope.ID)
			if w.Hold {
				c.holding.Add(1)
				released := c.released
				if w.Ever {
					released = nil
				}
				select {
				case <-released:
				case <-ctx.Done():
					return worked{}, ctx.Err()
				}
			}
			return worked{2 * w.N, pid}, nil
		}),
		request.On(func(context.Context, release) (worked, error) {
			c.release()
			return worked{Pid: pid}, nil
		}),
		request.OnStream(func(context.Context, numbers) iter.Seq2[worked, error] {
			return func(yield func(worked, error) bool) {
				for n := 0; yield(worked{n, pid}, nil); n++ {
				}
			}
		}),
	}
}

// isClosed says whether an error is one of those by which a call may end while its broker or its responder is away.
func isClosed(err error) bool {
	for _, one := range []error{request.ErrLost, request.ErrTimeout, request.ErrNoResponder, bus.ErrUnavailable,
		&request.Fault{Category: request.Unavailable}, &request.Fault{Category: request.Expired}} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}

// outcome is one call's.
type outcome struct {
	n       int
	got     worked
	err     error
	took    time.Duration
	timeout time.Duration
}

// wrong says what is wrong with it, whatever happened to the broker and the responder.
func (o outcome) wrong() bool {
	return o.err == nil && o.got.N != 2*o.n || o.err != nil && !isClosed(o.err) || o.took > o.timeout+slack ||
		errors.Is(o.err, request.ErrTimeout) && o.took < o.timeout-10*time.Millisecond // the deadline has milliseconds
}
