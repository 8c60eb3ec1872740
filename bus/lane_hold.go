package bus

import (
	"slices"
	"sync"
	"time"
)

// hold is a closed key: its first item waits for something (its next attempt, its turn, its dead letter), and
// the later ones of the key wait behind it. Without a key it is one item.
type hold struct {
	l     *lane
	at    place
	items []*item
	timer *time.Timer
	busy  bool // on its way to be a dead letter: not given back before that is known
	gone  bool
}

// place is what a hold closes: a key, for what comes from the broker or for what comes from its line in the database.
type place struct {
	key    string
	parked bool
}

func (it *item) place() place { return place{it.d.Key, it.claim != nil} }

// before answers what it has to wait behind, or nil. What comes from the broker waits behind nothing that was parked: the
// database sees to it, and it may have the turn that the other waits for. The lane is locked.
func (l *lane) before(it *item) *hold {
	if it.d.Key == "" || len(l.closed) == 0 {
		return nil
	}
	return l.closed[it.place()]
}

// shut closes the place of it. The lane is locked.
func (l *lane) shut(it *item) *hold {
	h := &hold{l: l, at: it.place(), items: []*item{it}}
	l.holds[h] = struct{}{}
	if h.at.key != "" {
		l.closed[h.at] = h
	}
	return h
}

// open puts what h holds to the front of the queue, in its order. The lane is locked.
func (l *lane) open(h *hold) {
	if h.gone {
		return
	}
	h.gone = true
	if h.timer != nil {
		h.timer.Stop()
		l.r.held.Add(-1)
	}
	delete(l.holds, h)
	if h.at.key != "" {
		delete(l.closed, h.at)
	}
	for _, it := range slices.Backward(h.items) {
		l.q.pushFront(it)
	}
}

// hold closes the key of it until its next attempt.
func (l *lane) hold(it *item, delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.shut(it)
	l.running = nil
	if l.stopping {
		l.open(h)
		return
	}
	l.r.held.Add(1)
	h.timer = time.AfterFunc(max(delay, 0), func() { l.reopen(h) })
}

// reopen lets what h holds run.
func (l *lane) reopen(h *hold) {
	l.mu.Lock()
	l.open(h)
	l.mu.Unlock()
	l.poke()
}

// gate bounds how many items are with handlers at once. What finds no place does not block its lane: its key waits,
// first come, first served.
type gate struct {
	limit int
	solo  bool // the one of suspects, not a route's

	mu      sync.Mutex
	used    int
	waiting []*hold
}

// enter takes a place for it, or closes its key until there is one. The lane is locked.
func (g *gate) enter(l *lane, it *item) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.used < g.limit {
		g.used++
		return true
	}
	g.waiting = append(g.waiting, l.shut(it))
	return false
}

// leave gives a place to the next in the row; to one whose lane is free, if there is any. No lane is locked.
func (g *gate) leave() {
	for {
		g.mu.Lock()
		if len(g.waiting) == 0 {
			g.used--
			g.mu.Unlock()
			return
		}
		i := max(0, slices.IndexFunc(g.waiting[:min(64, len(g.waiting))], func(h *hold) bool { return h.l.idle.Load() }))
		h := g.waiting[i]
		g.waiting = slices.Delete(g.waiting, i, i+1)
		g.mu.Unlock()
		h.l.mu.Lock()
		live := !h.gone
		if live {
			if it := h.items[0]; g.solo {
				it.solo = g
			} else {
				it.slot = g
			}
			h.l.open(h)
		}
		h.l.mu.Unlock()
		if live {
			h.l.poke()
			return
		}
	}
}
