package bus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// receiveMost bounds what is received in one go.
const receiveMost = 512

// receive takes deliveries from the source and hands them to lanes until ctx ends; an error ended the source.
func (r *run) receive(ctx context.Context) error {
	r.c.enter(Running)
	away := outage{c: r.c, what: "cannot receive, trying again", over: "receiving again"}
	staged := make([][]*item, len(r.lanes))
	for n := 0; ; {
		if !r.c.unpaused(ctx) {
			return nil
		}
		if r.parker.crowded() {
			if !sleep(ctx, r.c.o.ParkingPoll) {
				return nil
			}
			continue
		}
		room := r.flight.room(ctx, r.purge)
		if room == 0 {
			return nil
		}
		ds, err := r.src.Receive(ctx, min(room, receiveMost))
		if len(ds) > 0 {
			items := r.take(ds)
			if r.c.unpaused(ctx) {
				r.dispatch(items, staged)
			} else {
				r.giveBack(items)
			}
		}
		switch {
		case err == nil:
			n = 0
			away.end()
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrUnavailable):
			n++
			away.begin(err)
			if !sleep(ctx, passing(n)) {
				return nil
			}
		default:
			return fmt.Errorf("bus: receive for %s: %w", r.c, err)
		}
	}
}

// take makes items of deliveries. They come from one block, for what it spares the garbage collector.
func (r *run) take(ds []*Delivery) []item {
	items := make([]item, len(ds))
	for i, d := range ds {
		items[i].d = d
		items[i].attempts = 0
		if d.Claims != nil {
			items[i].attempts = d.Attempts
		}
	}
	r.flight.add(items)
	return items
}

// purge drops what is no longer ours.
func (r *run) purge() {
	for _, l := range r.lanes {
		l.purge()
	}
}

func (r *run) giveBack(items []item) {
	for i := range items {
		r.settle(&items[i], true)
	}
}

// dispatch hands items on in their order. staged is scratch, one slice per lane.
func (r *run) dispatch(items []item, staged [][]*item) {
	if r.c.o.Ack == AckOnReceipt || planted.Is(planted.AckBeforeHandling) {
		for i := range items {
			r.settler.push(order{it: &items[i], first: true})
		}
		return
	}
	var unkeyed []*item
	for i := range items {
		it := &items[i]
		if it.d.Key == "" {
			unkeyed = append(unkeyed, it)
			continue
		}
		n := r.laneOf(it.d.Key)
		staged[n] = append(staged[n], it)
	}
	for n, its := range staged {
		if len(its) > 0 {
			r.lanes[n].push(its)
			clear(its)
			staged[n] = its[:0]
		}
	}
	r.spread(unkeyed)
}

// laneOf is the lane of a key: its FNV-1a hash, mixed once more (the finalizer of MurmurHash3), modulo the lanes.
// Without the mixing, keys that came here because of their partition, which is an FNV-1a hash too, would share few lanes.
func (r *run) laneOf(key string) int {
	if planted.Is(planted.LanesByTurns) {
		return rand.IntN(len(r.lanes))
	}
	h := uint32(2166136261)
	for i := 0; i < len(key); i++ {
		h = (h ^ uint32(key[i])) * 16777619
	}
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	h ^= h >> 16
	return int(h % uint32(len(r.lanes)))
}

// spread gives items without a key to whichever lanes are free, now or later.
func (r *run) spread(its []*item) {
	if len(its) == 0 {
		return
	}
	r.loose.push(its)
	for n := 0; n < len(r.lanes) && len(its) > 0; n++ {
		if l := r.lanes[n]; l.idle.Load() {
			l.poke()
			its = its[1:]
		}
	}
}

// acknowledged hands on items that were acknowledged before their handlers run.
func (r *run) acknowledged(its []*item) {
	for _, it := range its {
		it.acked = true
		if it.d.Key == "" {
			r.spread([]*item{it})
		} else {
			r.lanes[r.laneOf(it.d.Key)].push([]*item{it})
		}
	}
}
