// Package wire has what lanes over connections have in common: a Line hands what comes to whoever opened a port or an ear until
// it is closed, and hands what goes to the one goroutine that sends. How packets become headers, and headers packets, is
// request.Packet.AppendHeaders and request.ReadPacket. It is for drivers; users of package request need nothing of it.
package wire

import (
	"context"
	"sync"
)

// A Line is the two ways of one port or ear. T is a message on its way to the connection. It is safe for concurrent use.
type Line[T any] struct {
	out     chan T
	stop    chan struct{} // closed by End
	written chan struct{} // closed when Write has returned
	gone    chan struct{} // closed by Lose
	lose    func()
	why     error

	mu    sync.RWMutex // held for reading while something is handed over, so that End waits for it
	ended bool
}

// New makes a line on which room messages may wait for the goroutine that sends. gone is what Send answers once the line is lost
// or ended; it wraps bus.ErrUnavailable.
func New[T any](room int, gone error) *Line[T] {
	l := &Line[T]{out: make(chan T, room), stop: make(chan struct{}), written: make(chan struct{}), gone: make(chan struct{}), why: gone}
	l.lose = sync.OnceFunc(func() { close(l.gone) })
	return l
}

// HandOver runs f unless the line was ended; End waits for it.
func (l *Line[T]) HandOver(f func()) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if !l.ended {
		f()
	}
}

// Lose says that the connection is over: what is handed over from now on fails, and Write returns. It may be called again.
func (l *Line[T]) Lose() { l.lose() }

// Check answers why nothing can be sent any more; nil: it can.
func (l *Line[T]) Check() error {
	select {
	case <-l.gone:
		return l.why
	default:
		return nil
	}
}

// Send hands v to the goroutine that sends. It waits for room as long as ctx lasts and the line does.
func (l *Line[T]) Send(ctx context.Context, v T) error {
	select {
	case <-l.gone:
		return l.why
	case <-l.stop:
		return l.why
	default:
	}
	select { // nearly always, and without a look at ctx, for whom that may be dear
	case l.out <- v:
		return nil
	default:
	}
	select {
	case l.out <- v:
		return nil
	case <-l.gone:
		return l.why
	case <-l.stop:
		return l.why
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Write gives publish what was handed over, one after the other, until the line is lost, or ended and nothing is left. It runs
// once, in a goroutine of the caller's.
func (l *Line[T]) Write(publish func(T)) {
	defer close(l.written)
	for {
		select {
		case v := <-l.out:
			publish(v)
		case <-l.gone:
			return
		case <-l.stop:
			for {
				select {
				case v := <-l.out:
					publish(v)
				default:
					return
				}
			}
		}
	}
}

// Next answers what waits for the goroutine that sends, for its publish to take along; ok is false where nothing does.
func (l *Line[T]) Next() (v T, ok bool) {
	select {
	case v = <-l.out:
		return v, true
	default:
		return v, false
	}
}

// End ends the line: nothing is handed over any more when it returns, and Write sends what is left. It reports whether this
// call was the first.
func (l *Line[T]) End() (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first = !l.ended; first {
		l.ended = true
		close(l.stop)
	}
	return first
}

// Written is closed when Write has returned.
func (l *Line[T]) Written() <-chan struct{} { return l.written }
