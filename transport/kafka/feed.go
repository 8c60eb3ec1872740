package kafka

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A feed is what a source has of one partition. It is guarded by its source's mu.
type feed struct {
	s         *source
	topic     string
	partition int32
	owned     context.Context // of its deliveries
	lose      context.CancelFunc
	dead      bool // the partition is no longer ours
	draining  bool // it will soon not be: nothing more is handed out

	tail   int64                 // offset behind the last arrival; -1: not known yet
	told   bool                  // the brokers have said what is committed
	begun  bool                  // something has arrived
	before mark                  // of an earlier owner; handed is bounded by what the partition had when it began
	buf    driver.Queue[*held]   // arrived
	window driver.Queue[*record] // handed out, in the order of the partition
	back   []*held               // released, in the order of the partition
	held   int                   // handed out and not settled
	handed int64                 // offset behind the last that was handed out; 0: nothing was

	reserved  int64 // what is committed lets everything below be handed out
	committed int64 // offset that is committed; -1: not known
}

// A record is one message of a partition.
type record struct {
	offset  int64
	settled bool
}

// held is one delivery, from its arrival until it is settled.
type held struct {
	delivery bus.Delivery
	f        *feed
	r        *record
	live     bool // handed out and not settled
}

func (s *source) newFeed(topic string, partition int32) *feed {
	f := &feed{s: s, topic: topic, partition: partition, tail: -1, committed: -1}
	f.owned, f.lose = context.WithCancel(context.Background())
	if s.kind == copied {
		f.told, f.reserved = true, math.MaxInt64
	}
	return f
}

// learn takes what is committed for the partition. foreign: somebody else has committed it, who says nothing about what was in hand.
func (f *feed) learn(offset int64, metadata string) {
	f.told = true
	if offset < 0 { // nothing was ever handed out: a mark would have been committed before
		return
	}
	f.tail, f.committed = offset, offset
	m, ok := parseMark(metadata, offset)
	if !ok {
		m = mark{handed: math.MaxInt64}
	}
	f.before = m
}

// add takes an arrival. high is the offset behind the last that the partition had.
func (f *feed) add(h *held, offset, high int64) {
	if !f.begun {
		f.begun = true
		if !f.told && f.s.kind != copied {
			f.before.handed = math.MaxInt64
		}
		// What came after we began was in nobody's hands. Earlier owners may have seen what was there: true too often is right.
		f.before.handed = min(f.before.handed, max(high, offset))
	}
	f.tail = offset + 1
	for len(f.before.done) > 0 && f.before.done[0].last < offset {
		f.before.done = f.before.done[1:]
	}
	h.f, h.r = f, &record{offset: offset, settled: len(f.before.done) > 0 && f.before.done[0].first <= offset}
	h.delivery.Topic, h.delivery.Redelivered = f.topic, offset < f.before.handed
	f.buf.Push(h)
	f.s.buffered++
}

// hand takes up to n messages, released ones first. It stops where the next owner would not know that it was handed out.
func (f *feed) hand(n int, ds []*bus.Delivery) []*bus.Delivery {
	for n > 0 && !f.draining && (len(f.back) > 0 || f.buf.Len() > 0) {
		var h *held
		if len(f.back) > 0 {
			h = f.back[0]
			f.back = slices.Delete(f.back, 0, 1)
		} else {
			if h = *f.buf.At(0); h.r.offset >= f.reserved {
				f.s.reserve()
				return ds
			}
			f.buf.Pop()
			f.s.buffered--
			if !h.r.settled || f.window.Len() > 0 {
				f.window.Push(h.r)
			}
			f.handed = h.r.offset + 1
			if h.r.settled { // an earlier owner has done it
				continue
			}
		}
		h.live = true
		h.delivery.Token = h
		if f.s.kind != copied {
			h.delivery.Owned = f.owned
		}
		f.held++
		f.s.held++
		ds = append(ds, &h.delivery)
		n--
	}
	if f.reserved-f.handed < f.s.reserveOf()/2 {
		f.s.reserve()
	}
	return ds
}

// drop takes a delivery out of what is handed out.
func (f *feed) drop(h *held) {
	h.live = false
	f.held--
	f.s.held--
}

// settled notes that a delivery is done.
func (f *feed) settled(h *held) {
	h.r.settled = true
	for f.window.Len() > 0 && (*f.window.At(0)).settled {
		f.window.Pop()
	}
}

// putBack keeps a released delivery to hand it out again, as another one: who has the old one no longer owns it.
func (f *feed) putBack(h *held) {
	n := &held{f: f, r: h.r, delivery: h.delivery}
	n.delivery.Redelivered = true
	n.delivery.Owned, n.delivery.Token, n.delivery.Claimed = nil, nil, false
	i, _ := slices.BinarySearchFunc(f.back, n, func(a, b *held) int { return cmp.Compare(a.r.offset, b.r.offset) })
	f.back = slices.Insert(f.back, i, n)
}

// floor is the offset of the first message that is not settled; -1: nothing is known yet.
func (f *feed) floor() int64 {
	switch {
	case f.window.Len() > 0:
		return (*f.window.At(0)).offset
	case f.buf.Len() > 0:
		return (*f.buf.At(0)).r.offset
	}
	return f.tail
}

// doneAbove lists what is settled above the floor.
func (f *feed) doneAbove() []span {
	var all []span
	before := false
	add := func(r *record) {
		switch n := len(all); {
		case r.settled && before:
			all[n-1].last = r.offset
		case r.settled:
			all = append(all, span{r.offset, r.offset})
		}
		before = r.settled
	}
	for i := range f.window.Len() {
		add(*f.window.At(i))
	}
	for i := range f.buf.Len() {
		add((*f.buf.At(i)).r)
	}
	for _, s := range f.before.done {
		if s.first = max(s.first, f.tail); s.first <= s.last {
			all = append(all, s)
		}
	}
	return all
}

// suspects is the offset behind the last that may have been in somebody's hands and is not settled, or the floor.
func (f *feed) suspects(floor int64) int64 {
	most := max(floor, f.before.handed)
	if f.window.Len() > 0 || len(f.back) > 0 {
		most = max(most, f.handed)
	}
	return most
}

// forget loses everything that has not been handed out.
func (f *feed) forget() {
	f.s.buffered -= f.buf.Len()
	f.buf, f.back = driver.Queue[*held]{}, nil
}

// end loses the partition.
func (f *feed) end() {
	f.dead = true
	f.lose()
	f.forget()
	f.s.held -= f.held
	f.held = 0
}
