package nats

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// kind of a subscription.
type kind int

const (
	shared kind = iota // a group without order: all members pull from one durable
	copied             // no group: a consumer of our own
	laned              // an ordered group: a durable per lane, which one member owns
)

// A feed is one consumer of the server's from which a source pulls. A feed is guarded by its source's mu.
type feed struct {
	s        *source
	topic    string
	stream   string
	consumer string
	index    int // in the session: last part of the subject for deliveries
	lane     int

	asked int // messages that the server may still send
	buf   driver.Queue[*held]
	back  []*held // released, by seq
	held  int     // handed out and not settled
	dead  bool    // the consumer is no longer ours
	heard bool    // something came since the last look
	quiet int     // looks at which nothing had come
	again bool    // a pull failed; ask again at the next look

	// Of a copy: the last that came, so that another connection can go on behind it.
	last uint64

	// Of a lane:
	open     driver.Queue[*held] // handed out, by seq, with all that is settled above the floor
	consumed uint64              // last sequence of the consumer
	mark     uint64              // up to here it may have been delivered before
	handed   uint64              // up to here it was handed out by us
	floor    uint64              // settled up to here
	ackFloor string              // subject that acknowledges the floor
	moved    bool                // the server does not know the floor yet
	done     map[uint64]struct{}
	draining bool
	rev      uint64 // of the lease
	lease    lease
	since    time.Time
	owned    context.Context
	lose     context.CancelFunc
}

// held is one delivery, from its arrival until it is settled.
type held struct {
	delivery bus.Delivery
	f        *feed
	seq      uint64 // in the stream
	ack      string // subject
	size     int    // bytes on the wire
	until    time.Time
	batch    *batch
	live     bool // handed out and not settled
	settled  bool // of a lane: acknowledged, while earlier ones are not
}

// prefetch is how many messages of a feed may wait here.
func (f *feed) prefetch() int {
	s := f.s
	switch s.kind {
	case copied:
		return max(1, s.max/len(s.parts))
	case laned:
		return max(8, 2*s.max/s.laneCount)
	}
	return 0
}

// want answers how many messages to ask for now, and counts them as asked.
func (f *feed) want() int {
	if f.dead || f.draining || f.again || f.s.waiting > mostWaiting {
		return 0
	}
	target, have := f.prefetch(), f.asked+f.buf.Len()
	if f.s.kind == shared { // what waits here can go to nobody else, so no more than the next to be handed out
		room := 2*f.s.max - f.s.held - f.s.buffered
		if room <= 0 {
			return 0
		}
		target, have = (room+len(f.s.parts)-1)/len(f.s.parts), f.asked
	}
	if have > target/2 {
		return 0
	}
	f.asked += target - have
	return target - have
}

// add takes an arrival. It reports false when the server left something out.
func (f *feed) add(h *held, a ackSubject) bool {
	f.heard = true
	f.asked = max(f.asked-1, 0)
	switch f.s.kind {
	case copied:
		if h.seq <= f.last { // from before a reconnect
			return true
		}
		f.last = h.seq
	case laned:
		if a.consumed != f.consumed+1 {
			return false
		}
		f.consumed = a.consumed
		h.delivery.Redelivered = h.seq <= f.mark
		_, h.settled = f.done[h.seq]
	}
	f.buf.Push(h)
	f.s.buffered++
	f.s.waiting += h.size
	return true
}

// hand takes up to n messages, released ones first.
func (f *feed) hand(n int, now time.Time, ds []*bus.Delivery) []*bus.Delivery {
	if f.dead || f.draining {
		return ds
	}
	for n > 0 && (len(f.back) > 0 || f.buf.Len() > 0) {
		var h *held
		if len(f.back) > 0 {
			h = f.back[0]
			f.back = slices.Delete(f.back, 0, 1)
		} else {
			h = f.buf.Pop()
			f.s.buffered--
			f.s.waiting -= h.size
			if f.s.kind == shared && !now.Before(h.until) { // by the time it is handled the server gives it to another
				continue
			}
			if f.s.kind == laned {
				f.open.Push(h)
				if h.settled { // by the lane's last owner
					f.raise()
					continue
				}
				f.handed = max(f.handed, h.seq)
			}
		}
		h.live = true
		h.delivery.Token = h
		if f.s.kind == laned {
			h.delivery.Owned = f.owned
		}
		f.held++
		f.s.held++
		ds = append(ds, &h.delivery)
		n--
	}
	return ds
}

// drop takes a delivery out of what is handed out.
func (f *feed) drop(h *held) {
	h.live = false
	f.held--
	f.s.held--
	if h.batch != nil {
		h.batch.left--
		h.batch.stop()
	}
}

// putBack keeps a released delivery to hand it out again, as another one: who has the old one no longer owns it.
func (f *feed) putBack(h *held) {
	n := &held{f: f, seq: h.seq, ack: h.ack, delivery: h.delivery}
	n.delivery.Redelivered = true
	n.delivery.Owned, n.delivery.Token, n.delivery.Claimed = nil, nil, false
	if f.s.kind == laned {
		i, _ := f.find(h.seq)
		*f.open.At(i) = n
	}
	i, _ := slices.BinarySearchFunc(f.back, n, func(a, b *held) int { return cmp.Compare(a.seq, b.seq) })
	f.back = slices.Insert(f.back, i, n)
}

// find answers where in open a message is.
func (f *feed) find(seq uint64) (int, bool) {
	return slices.BinarySearchFunc(f.open.All(), seq, func(h *held, seq uint64) int { return cmp.Compare(h.seq, seq) })
}

// raise moves the floor of a lane over all that is settled.
func (f *feed) raise() {
	for f.open.Len() > 0 && (*f.open.At(0)).settled {
		h := f.open.Pop()
		f.floor, f.ackFloor, f.moved = h.seq, h.ack, true
	}
}

// end loses what is held: the consumer is another's, or gone.
func (f *feed) end() {
	if f.dead {
		return
	}
	f.dead = true
	f.s.held -= f.held
	f.s.buffered -= f.buf.Len()
	for i := range f.buf.Len() {
		f.s.waiting -= (*f.buf.At(i)).size
	}
	f.held, f.back, f.done = 0, nil, nil
	f.buf, f.open = driver.Queue[*held]{}, driver.Queue[*held]{} // the session remembers the feed
	if f.lose != nil {
		f.lose()
	}
}
