package memory

import (
	"cmp"
	"context"
	"slices"
)

// A lane holds the messages of some keys in their order. At most one member owns it in an ordered queue.
type lane struct {
	bit   uint64     // in the words of its queue and members
	back  []*message // delivered once and given back, by seq; all of them came before those of fresh
	fresh fifo
	held  int     // delivered and not settled
	owner *member // nil in an unordered queue

	owned context.Context // of this ownership; nil until something was delivered
	lose  context.CancelFunc
}

func (l *lane) empty() bool { return len(l.back) == 0 && l.fresh.len() == 0 }

// pop takes the next message; again says that it was delivered before.
func (l *lane) pop() (m *message, again bool) {
	if len(l.back) > 0 {
		m, l.back = l.back[0], l.back[1:]
		return m, true
	}
	return l.fresh.pop(), false
}

// giveBack puts a delivered message where it was.
func (l *lane) giveBack(m *message) {
	i, _ := slices.BinarySearchFunc(l.back, m.seq, func(o *message, seq uint64) int { return cmp.Compare(o.seq, seq) })
	l.back = slices.Insert(l.back, i, m)
}

// context ends when the lane goes to another owner.
func (l *lane) context() context.Context {
	if l.owned == nil {
		l.owned, l.lose = context.WithCancel(context.Background())
	}
	return l.owned
}

// endOwned ends the context of the deliveries so far.
func (l *lane) endOwned() {
	if l.lose != nil {
		l.lose()
		l.owned, l.lose = nil, nil
	}
}

// fifo is a first-in first-out list that uses its array again.
type fifo struct {
	list []*message
	head int
}

func (f *fifo) len() int { return len(f.list) - f.head }

func (f *fifo) push(m *message) {
	if len(f.list) == cap(f.list) && f.head > len(f.list)/2 {
		n := copy(f.list, f.list[f.head:])
		clear(f.list[n:])
		f.list, f.head = f.list[:n], 0
	}
	f.list = append(f.list, m)
}

func (f *fifo) pop() *message {
	m := f.list[f.head]
	f.list[f.head] = nil
	if f.head++; f.head == len(f.list) {
		f.list, f.head = f.list[:0], 0
		if cap(f.list) > 1024 {
			f.list = nil // a burst is over
		}
	}
	return m
}
