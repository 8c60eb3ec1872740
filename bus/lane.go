package bus

import (
	"sync"
	"sync/atomic"
	"time"
)

// item is a delivery on its way through a consumer.
type item struct {
	d     *Delivery
	route *route

	attempts int    // counted so far
	passes   int    // times in a row that it failed by nobody's fault
	err      error  // of the last attempt
	refusal  string // why no handler may run; the text of err says more

	acked   bool   // acknowledged on receipt
	judged  bool   // route, refusal and suspect are known
	suspect bool   // may have crashed a process: it is counted first, and runs alone
	counted bool   // by the inbox
	paid    bool   // its next run is counted already: the last one failed by nobody's fault
	single  bool   // its batch failed: runs by itself
	claim   *claim // of its line, in which it waited in the database; or nil
	crashed bool   // its line was taken over from a process that did not give it back
	solo    *gate  // of suspects, while it has the turn
	slot    *gate  // of its route, while it has a place

	handling handling // of the first attempt

	prev, next *item // in flight
}

// lost reports whether the delivery is no longer ours.
func (it *item) lost() bool { return it.d.Owned != nil && it.d.Owned.Err() != nil }

// leave takes the gates whose places it has from it and appends them to gates.
func (it *item) leave(gates []*gate) []*gate {
	for _, place := range []**gate{&it.solo, &it.slot} {
		if *place != nil {
			gates = append(gates, *place)
			*place = nil
		}
	}
	return gates
}

// lane is one goroutine that runs handlers, one after the other: those of the keys that hash to it, and those
// without a key that it finds. A key whose message failed is closed: its later messages gather behind it, while the
// lane goes on with other keys. What comes from the key's line in the database passes: it is earlier than all that comes from the
// broker, which may be waiting for a place in that very line.
type lane struct {
	r    *run
	wake chan struct{} // at most one token
	idle atomic.Bool

	mu       sync.Mutex
	q        deque
	closed   map[place]*hold
	holds    map[*hold]struct{} // all of them, those without a key too
	running  []*item
	since    time.Time
	one      [1]*item // what running points to when it is a single one
	turn     bool     // whose turn it is: the lane's own messages or those without a key
	leaving  []*gate  // to be left once the lane is unlocked
	stopping bool
}

func newLane(r *run) *lane {
	return &lane{r: r, wake: make(chan struct{}, 1), closed: make(map[place]*hold), holds: make(map[*hold]struct{})}
}

// push appends items to the lane's queue. Only the receiving goroutine calls it.
func (l *lane) push(its []*item) {
	l.mu.Lock()
	for _, it := range its {
		l.q.pushBack(it)
	}
	l.mu.Unlock()
	if l.idle.Load() {
		l.poke()
	}
}

// unlock unlocks the lane and then leaves the gates that its items gave up meanwhile.
func (l *lane) unlock() {
	gates := l.leaving
	l.leaving = nil
	l.mu.Unlock()
	for _, g := range gates {
		g.leave()
	}
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// loop runs handlers until the lane was stopped and is empty.
func (l *lane) loop() {
	defer func() {
		l.mu.Lock()
		cut := l.running
		l.running = nil
		l.mu.Unlock()
		if len(cut) == 0 {
			l.r.working.Done()
			return
		}
		// A handler ended this goroutine (runtime.Goexit, which testing.T.FailNow calls too).
		if len(cut) == 1 {
			l.apply(cut[0], l.r.judge(cut[0], errExited))
		} else {
			l.split(cut)
		}
		go l.loop()
	}()
	for {
		its := l.take()
		switch {
		case len(its) == 0:
			return
		case len(its) == 1:
			l.apply(its[0], l.r.attempt(its[0]))
		default:
			l.runBatch(its)
		}
	}
}

// take waits for what can run now: a message, or several for a batch handler. Nothing: the lane has ended.
func (l *lane) take() []*item {
	l.mu.Lock()
	defer l.unlock()
	l.running = nil
	for {
		it := l.pop()
		if it != nil {
			if !l.admit(it) {
				continue
			}
			l.one[0] = it
			l.running = l.one[:]
			if it.batches() {
				l.gather(it)
			}
			l.since = now()
			return l.running
		}
		if l.stopping && len(l.holds) == 0 {
			return nil
		}
		l.idle.Store(true)
		l.unlock()
		if l.r.loose.empty() { // asked after idle was set: spread looks the other way round
			<-l.wake
		}
		l.idle.Store(false)
		l.mu.Lock()
	}
}

// pop takes turns between the lane's own queue and messages without a key. The lane is locked.
func (l *lane) pop() *item {
	l.turn = !l.turn
	if l.turn {
		if it := l.r.loose.pop(); it != nil {
			return it
		}
	}
	if it := l.q.popFront(); it != nil {
		return it
	}
	if !l.turn {
		return l.r.loose.pop()
	}
	return nil
}

// admit reports whether it may run now, and puts it where it belongs if not. The lane is locked.
func (l *lane) admit(it *item) bool {
	if it.lost() {
		l.leaving = it.leave(l.leaving)
		l.r.flight.remove(it)
		return false
	}
	if h := l.before(it); h != nil {
		h.items = append(h.items, it)
		if !h.busy && h.items[0].lost() { // it was taken away and has come again, or will
			l.open(h)
		}
		return false
	}
	if l.stopping && !it.acked {
		l.leaving = it.leave(l.leaving)
		l.r.settle(it, true)
		return false
	}
	if !it.judged {
		l.r.classify(it)
	}
	if it.refusal != "" {
		return true
	}
	if it.suspect && it.solo == nil {
		if !l.r.solo.enter(l, it) {
			return false
		}
		it.solo = l.r.solo
	}
	if g := it.route.gate; g != nil && it.slot == nil {
		if !g.enter(l, it) {
			return false
		}
		it.slot = g
	}
	return true
}

// apply carries a verdict out, when the item's handler is not running any more.
func (l *lane) apply(it *item, v verdict) {
	if it.solo != nil || it.slot != nil {
		for _, g := range it.leave(nil) {
			g.leave()
		}
	}
	switch v.fate {
	case done:
		l.r.settle(it, false)
	case released:
		l.r.settle(it, true)
	case again:
		l.hold(it, v.delay)
	case parked, dead:
		l.bury(it, v)
	}
}

// stop begins the end: what has not begun is given back, except behind a message of its key that runs or is on its
// way to be a dead letter; that follows in its order.
func (l *lane) stop() {
	l.mu.Lock()
	l.stopping = true
	for h := range l.holds {
		if !h.busy {
			l.open(h) // in front of its key's other messages
		}
	}
	for _, it := range l.q.filter(func(it *item) bool { return it.acked || l.runs(it.d.Key) }) {
		l.admit(it) // releases it, or puts it behind what is on its way
	}
	l.unlock()
	l.poke()
}

// purge drops what is no longer ours and would otherwise stay until something else happens.
func (l *lane) purge() {
	l.mu.Lock()
	for h := range l.holds {
		if !h.busy && h.items[0].lost() {
			l.open(h)
		}
	}
	lost := l.q.filter(func(it *item) bool { return !it.lost() })
	for _, it := range lost {
		l.admit(it)
	}
	l.unlock()
	l.poke()
}

// runs reports whether a message of key is with a handler. The lane is locked.
func (l *lane) runs(key string) bool {
	for _, it := range l.running {
		if key != "" && it.d.Key == key {
			return true
		}
	}
	return false
}

// busy counts the messages that are with a handler.
func (l *lane) busy() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.running)
}

// oldest answers the type of what is with a handler, and since when; the zero time when nothing is.
func (l *lane) oldest() (string, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.running) == 0 {
		return "", time.Time{}
	}
	return l.running[0].d.Type, l.since
}
