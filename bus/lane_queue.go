package bus

import (
	"sync"
	"sync/atomic"
)

// deque is a ring of items that grows. The zero value is empty.
type deque struct {
	ring    []*item // its length is a power of two
	head, n int
}

func (q *deque) grow() {
	bigger := make([]*item, max(16, 2*len(q.ring)))
	for i := range q.n {
		bigger[i] = q.at(i)
	}
	q.ring, q.head = bigger, 0
}

func (q *deque) at(i int) *item { return q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *deque) pushBack(it *item) {
	if q.n == len(q.ring) {
		q.grow()
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = it
	q.n++
}

func (q *deque) pushFront(it *item) {
	if q.n == len(q.ring) {
		q.grow()
	}
	q.head = (q.head - 1) & (len(q.ring) - 1)
	q.ring[q.head] = it
	q.n++
}

func (q *deque) front() *item {
	if q.n == 0 {
		return nil
	}
	return q.ring[q.head]
}

func (q *deque) popFront() *item {
	if q.n == 0 {
		return nil
	}
	it := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return it
}

// filter takes out what shall not be kept and answers it, in its order.
func (q *deque) filter(keep func(*item) bool) (out []*item) {
	old := *q
	*q = deque{}
	for it := old.popFront(); it != nil; it = old.popFront() {
		if keep(it) {
			q.pushBack(it)
		} else {
			out = append(out, it)
		}
	}
	return out
}

// loose holds messages without a key. Any lane takes them when it has time, so that none waits behind a handler that
// hangs.
type loose struct {
	n  atomic.Int64
	mu sync.Mutex
	q  deque
}

func (o *loose) empty() bool { return o.n.Load() == 0 }

func (o *loose) push(its []*item) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, it := range its {
		o.q.pushBack(it)
	}
	o.n.Add(int64(len(its)))
}

func (o *loose) pop() *item {
	if o.empty() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	it := o.q.popFront()
	if it != nil {
		o.n.Add(-1)
	}
	return it
}

// popIf takes the first message if it fits.
func (o *loose) popIf(fits func(*item) bool) *item {
	if o.empty() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if it := o.q.front(); it == nil || !fits(it) {
		return nil
	}
	o.n.Add(-1)
	return o.q.popFront()
}

// stop empties it, except of what was acknowledged already.
func (o *loose) stop() []*item {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.q.filter(func(it *item) bool { return it.acked })
	o.n.Add(-int64(len(out)))
	return out
}
