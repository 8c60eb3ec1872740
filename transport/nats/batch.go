package nats

import (
	"context"
	"time"
)

// A batch is what one Receive answered of a group without order. It shares the context that ends when the server may give
// the messages to another. It is guarded by its source's mu.
type batch struct {
	s     *source
	all   []*held
	left  int // not settled
	until time.Time
	lose  context.CancelFunc
	timer *time.Timer
}

// ours is how long after its delivery a message counts as ours: a little less than the server thinks.
func (s *source) ours() time.Duration { return s.t.o.AckWait * 8 / 10 }

// newBatch begins when something was handed out.
func (s *source) newBatch(all []*held) {
	ctx, lose := context.WithCancel(context.Background())
	b := &batch{s: s, all: all, left: len(all), until: all[0].until, lose: lose}
	for _, h := range all {
		h.batch = b
		h.delivery.Owned = ctx
		if h.until.Before(b.until) {
			b.until = h.until
		}
	}
	b.timer = time.AfterFunc(time.Until(b.until), b.expire)
	s.batches[b] = struct{}{}
}

// expire loses what is not settled, if nobody has extended it meanwhile.
func (b *batch) expire() {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	if b.left == 0 {
		return
	}
	if rest := time.Until(b.until); rest > 0 {
		b.timer.Reset(rest)
		return
	}
	b.end()
	b.s.bell.Ring()
}

// end loses what is not settled.
func (b *batch) end() {
	for _, h := range b.all {
		if h.live {
			h.f.drop(h)
		}
	}
	b.lose()
}

// stop forgets a batch of which nothing is left.
func (b *batch) stop() {
	if b.left == 0 {
		b.timer.Stop()
		delete(b.s.batches, b)
	}
}
