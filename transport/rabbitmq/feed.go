package rabbitmq

import (
	"cmp"
	"slices"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A feed is what a source has of one topic. It is guarded by its source's mu.
type feed struct {
	s     *source
	topic string
	queue string // of this session

	fresh  bool    // nothing that comes for the first time has come in this session: what comes again may be out of order
	run    []*held // of an ordered group: what came again, until it is complete
	buf    driver.Queue[*held]
	back   []*held // released, by place
	places uint64
	held   int // handed out and not settled
	came   int // arrivals in this session
}

// held is one delivery, from its arrival until it is settled.
type held struct {
	delivery bus.Delivery
	f        *feed
	ses      *session
	tag      uint64 // on the session's channel
	again    int64  // how often the queue says that it was delivered before
	place    uint64 // in the order in which the feed hands out
	live     bool   // handed out and not settled
}

// add takes an arrival. It reports whether Receive has something to take.
func (f *feed) add(h *held) bool {
	f.came++
	if f.s.kind == single && f.fresh && h.delivery.Redelivered {
		f.run = append(f.run, h)
		if len(f.run) < f.s.prefetch() {
			return false
		}
		f.settleRun() // no more than that can come again
		return true
	}
	f.settleRun()
	f.put(h)
	return true
}

// settleRun ends the leading run of what came again: in its order it is handed out.
func (f *feed) settleRun() {
	f.fresh = false
	sortRun(f.run)
	for _, h := range f.run {
		f.put(h)
	}
	f.run = nil
}

func (f *feed) put(h *held) {
	f.places++
	h.place = f.places
	f.buf.Push(h)
}

// hand takes up to n messages, released ones first.
func (f *feed) hand(n int, ds []*bus.Delivery) []*bus.Delivery {
	for n > 0 && (len(f.back) > 0 || f.buf.Len() > 0) {
		var h *held
		if len(f.back) > 0 {
			h = f.back[0]
			f.back = slices.Delete(f.back, 0, 1)
		} else {
			h = f.buf.Pop()
		}
		h.live = true
		h.delivery.Token = h
		if f.s.kind != copied {
			h.delivery.Owned = h.ses.owned
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
}

// putBack keeps a released delivery to hand it out again, as another one: who has the old one no longer owns it. A nack
// would put it behind what is on its way.
func (f *feed) putBack(h *held) {
	n := &held{f: f, ses: h.ses, tag: h.tag, again: h.again, place: h.place, delivery: h.delivery}
	n.delivery.Redelivered = true
	n.delivery.Owned, n.delivery.Token, n.delivery.Claimed = nil, nil, false
	i, _ := slices.BinarySearchFunc(f.back, n, func(a, b *held) int { return cmp.Compare(a.place, b.place) })
	f.back = slices.Insert(f.back, i, n)
}

// forget loses everything, with the session that it came on: it comes again. What a copy has stays.
func (f *feed) forget(all []*held) {
	f.s.held -= f.held
	f.held, f.back, f.run, f.buf = 0, nil, nil, driver.Queue[*held]{}
	for _, h := range all {
		h.live = false
	}
}
