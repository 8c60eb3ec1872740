package driver

import "iter"

const (
	// WindowSlots is how many messages a Window has at most.
	WindowSlots = 8192 // a power of two
	// WindowBytes is how many bytes it has at most, but for one message that is larger.
	WindowBytes = 32 << 20
)

// A Window is what a sender has in flight, by the number of the message, which grows by one with each. Confirms may come in
// any order. It bounds what a lost connection leaves in doubt. It is not safe for concurrent use.
type Window[T any] struct {
	slots [WindowSlots]slot[T]
	head  uint64 // the oldest in flight, or next
	next  uint64 // number of the next message
	bytes int
}

type slot[T any] struct {
	v    T
	size int
	used bool
}

// Start sets the number of the next message. There is nothing in flight yet.
func (w *Window[T]) Start(number uint64) { w.head, w.next = number, number }

// Full reports whether a message of that many bytes has to wait. One that is too large for the window goes alone.
func (w *Window[T]) Full(size int) bool {
	return w.next-w.head >= WindowSlots || w.bytes > 0 && w.bytes+size > WindowBytes
}

// Low reports whether there is so much room again that who waits should be woken.
func (w *Window[T]) Low() bool {
	return w.next-w.head <= WindowSlots*3/4 && w.bytes <= WindowBytes*3/4
}

// Empty reports whether nothing is in flight.
func (w *Window[T]) Empty() bool { return w.head == w.next }

// Oldest is the number of the oldest message in flight, and Next the one of the next message.
func (w *Window[T]) Oldest() uint64 { return w.head }

// Next is the number that Push will answer.
func (w *Window[T]) Next() uint64 { return w.next }

// Push adds a message of that many bytes and answers its number. The window may not be Full.
func (w *Window[T]) Push(v T, size int) uint64 {
	n := w.next
	w.slots[n%WindowSlots] = slot[T]{v, size, true}
	w.next++
	w.bytes += size
	return n
}

// Take removes message n. It answers false if that is not in flight.
func (w *Window[T]) Take(n uint64) (v T, ok bool) {
	at := &w.slots[n%WindowSlots]
	if n < w.head || n >= w.next || !at.used {
		return v, false
	}
	v = at.v
	w.bytes -= at.size
	*at = slot[T]{}
	for w.head < w.next && !w.slots[w.head%WindowSlots].used {
		w.head++
	}
	return v, true
}

// Find answers the number of the oldest message in flight for which f holds.
func (w *Window[T]) Find(f func(v *T) bool) (n uint64, ok bool) {
	for n, v := range w.All() {
		if f(v) {
			return n, true
		}
	}
	return 0, false
}

// All answers what is in flight, the oldest first, with its numbers. It ends before anything is pushed or taken.
func (w *Window[T]) All() iter.Seq2[uint64, *T] {
	return func(yield func(uint64, *T) bool) {
		for n := w.head; n < w.next; n++ {
			if s := &w.slots[n%WindowSlots]; s.used && !yield(n, &s.v) {
				return
			}
		}
	}
}
