package driver

// A Queue is first in, first out, and keeps its memory. The zero value is empty. It is not safe for concurrent use.
type Queue[T any] struct {
	list []T
	head int
}

// Len is how many there are.
func (q *Queue[T]) Len() int { return len(q.list) - q.head }

// At answers the i-th from the front, which Push and Pop move.
func (q *Queue[T]) At(i int) *T { return &q.list[q.head+i] }

// All answers the whole queue, from the front, until the next Push or Pop.
func (q *Queue[T]) All() []T { return q.list[q.head:] }

// Push adds one at the end.
func (q *Queue[T]) Push(v T) {
	if q.head > 32 && q.head > len(q.list)/2 {
		n := copy(q.list, q.list[q.head:])
		clear(q.list[n:])
		q.list, q.head = q.list[:n], 0
	}
	q.list = append(q.list, v)
}

// Pop removes the one at the front; there has to be one.
func (q *Queue[T]) Pop() T {
	var none T
	v := q.list[q.head]
	q.list[q.head] = none
	q.head++
	if q.head == len(q.list) {
		q.list, q.head = q.list[:0], 0
	}
	return v
}
