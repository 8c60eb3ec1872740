package request

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// limited is a context with a deadline that has no timer, and no place among its parent's children, until somebody asks for
// Done: most calls and most handlers never do, and those two are what context.WithDeadline costs. It is safe for concurrent use.
type limited struct {
	context.Context // the parent
	deadline        time.Time

	over  atomic.Bool // end was called
	mu    sync.Mutex  // held while inner is made
	inner atomic.Pointer[inner]
}

// inner is what a limited is for who waits for it.
type inner struct {
	context.Context
	cancel context.CancelFunc
}

// Deadline implements context.Context.
func (l *limited) Deadline() (time.Time, bool) { return l.deadline, true }

// Done implements context.Context.
func (l *limited) Done() <-chan struct{} {
	in := l.inner.Load()
	if in == nil {
		in = l.make()
	}
	return in.Done()
}

func (l *limited) make() *inner {
	l.mu.Lock()
	defer l.mu.Unlock()
	in := l.inner.Load()
	if in != nil {
		return in
	}
	in = new(inner)
	in.Context, in.cancel = context.WithDeadline(l.Context, l.deadline)
	l.inner.Store(in)
	if l.over.Load() { // end may not have seen it
		in.cancel()
	}
	return in
}

// Err implements context.Context.
func (l *limited) Err() error {
	if in := l.inner.Load(); in != nil {
		return in.Err()
	}
	if l.over.Load() {
		return context.Canceled
	}
	if err := l.Context.Err(); err != nil {
		return err
	}
	if time.Until(l.deadline) <= 0 { // which reads one clock, not two
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context. Below a Done it is the inner one that answers, so that contexts made of this one become
// children of that without a goroutine.
func (l *limited) Value(key any) any {
	if in := l.inner.Load(); in != nil {
		return in.Value(key)
	}
	return l.Context.Value(key)
}

// end ends it, as a context.CancelFunc does. It may be called again.
func (l *limited) end() {
	l.over.Store(true)
	if in := l.inner.Load(); in != nil {
		in.cancel()
	}
}
