package bus

import (
	"context"
	"sync"
	"time"
)

// flight is the list of what was received and not settled, oldest first. It bounds how much there is.
type flight struct {
	mu    sync.Mutex
	root  item // of a ring; itself no item
	n     int
	limit int
	freed chan struct{} // at most one token
}

func (f *flight) init(limit int) {
	f.root.prev, f.root.next = &f.root, &f.root
	f.limit = limit
	f.freed = make(chan struct{}, 1)
}

func (f *flight) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// room waits until something more may be received and answers how much; 0 when ctx ended first. While there is none
// it calls purge once a second: what waits long may be no longer ours.
func (f *flight) room(ctx context.Context, purge func()) int {
	var tick <-chan time.Time
	for {
		if n := f.limit - f.count(); n > 0 {
			return n
		}
		if tick == nil {
			t := time.NewTicker(time.Second)
			defer t.Stop()
			tick = t.C
		}
		select {
		case <-f.freed:
		case <-tick:
			purge()
		case <-ctx.Done():
			return 0
		}
	}
}

func (f *flight) add(items []item) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range items {
		it := &items[i]
		it.prev, it.next = f.root.prev, &f.root
		it.prev.next, it.next.prev = it, it
	}
	f.n += len(items)
}

// remove takes items out; one that is out already changes nothing.
func (f *flight) remove(its ...*item) {
	if len(its) == 0 {
		return
	}
	f.mu.Lock()
	full := f.n >= f.limit
	for _, it := range its {
		if it.next != nil {
			it.prev.next, it.next.prev = it.next, it.prev
			it.prev, it.next = nil, nil
			f.n--
		}
	}
	f.mu.Unlock()
	if full {
		token(f.freed)
	}
}

// deliveries are those that the broker still believes with us.
func (f *flight) deliveries() []*Delivery {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*Delivery, 0, f.n)
	for it := f.root.next; it != &f.root; it = it.next {
		if !it.lost() && !it.acked {
			out = append(out, it.d)
		}
	}
	return out
}
