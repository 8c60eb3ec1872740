package memory

import (
	"cmp"
	"math/bits"
	"slices"
)

// lanes of an ordered queue: one bit each in a word. Members beyond this number get nothing.
const lanes = 64

// quantum is how many messages a lane gives before the next one has its turn.
const quantum = 16

// A queue is what one group, or one copy, has not settled of one topic.
//
// In an ordered queue each lane has at most one owner, and changes it only when nothing of it is held any more: the
// owner settled it, gave it back, or lost it. An unordered queue has one lane, which all members share.
type queue struct {
	topic   *topic
	group   string // empty: a copy
	ordered bool
	lanes   []lane
	ready   uint64 // lanes that are not empty
	members []*member
	spread  uint // lane of the next message without a key
}

// A member is the part of a source in one queue.
type member struct {
	q     *queue
	src   *source
	takes uint64 // lanes that it may take from; a lane that it owns without this bit moves on once nothing is held
	next  int    // lane that has its turn
}

func newQueue(tp *topic, group string, ordered bool) *queue {
	q := &queue{topic: tp, group: group, ordered: ordered}
	q.lanes = newLanes(ordered)
	return q
}

func newLanes(ordered bool) []lane {
	n := 1
	if ordered {
		n = lanes
	}
	ls := make([]lane, n)
	for i := range ls {
		ls[i].bit = 1 << i
	}
	return ls
}

// setOrdered lays the messages out anew. The queue has no members, so nothing is held.
func (q *queue) setOrdered(ordered bool) {
	if q.ordered == ordered {
		return
	}
	old := q.lanes
	q.ordered = ordered
	q.lanes = newLanes(ordered)
	q.ready = 0
	var back, fresh []*message
	for i := range old {
		back = append(back, old[i].back...)
		fresh = append(fresh, old[i].fresh.list[old[i].fresh.head:]...)
	}
	bySeq := func(a, b *message) int { return cmp.Compare(a.seq, b.seq) }
	slices.SortFunc(back, bySeq)
	slices.SortFunc(fresh, bySeq)
	for _, m := range back {
		l := q.laneOf(m)
		l.back = append(l.back, m)
		q.ready |= l.bit
	}
	for _, m := range fresh {
		q.push(m)
	}
}

// laneOf is stable for a key (FNV-1a) and goes round without one.
func (q *queue) laneOf(m *message) *lane {
	if !q.ordered {
		return &q.lanes[0]
	}
	if m.env.Key == "" {
		q.spread++
		return &q.lanes[q.spread%lanes]
	}
	h := uint32(2166136261)
	for i := 0; i < len(m.env.Key); i++ {
		h = (h ^ uint32(m.env.Key[i])) * 16777619
	}
	return &q.lanes[h%lanes]
}

// push appends a new message and wakes who may take it.
func (q *queue) push(m *message) {
	l := q.laneOf(m)
	l.fresh.push(m)
	q.ready |= l.bit
	if l.owner != nil {
		l.owner.src.ring()
	} else if !q.ordered {
		q.wake()
	}
}

// wake rings for every member that has something to take.
func (q *queue) wake() {
	for _, m := range q.members {
		if q.ready&m.takes != 0 {
			m.src.ring()
		}
	}
}

// take moves up to n messages of m's lanes to out.
func (m *member) take(n int, out []picked) []picked {
	q := m.q
	for n > 0 && q.ready&m.takes != 0 {
		i := (m.next + bits.TrailingZeros64(bits.RotateLeft64(q.ready&m.takes, -m.next))) % lanes
		l := &q.lanes[i]
		turn := n
		if q.ordered {
			turn = min(n, quantum)
		}
		for ; turn > 0 && !l.empty(); turn-- {
			msg, again := l.pop()
			l.held++
			n--
			out = append(out, picked{msg, l, m, again})
		}
		if l.empty() {
			q.ready &^= l.bit
		}
		m.next = (i + 1) % lanes
	}
	return out
}

// giveBack returns what was held of a lane. The caller calls settled once everything is back.
func (q *queue) giveBack(l *lane, m *message) {
	l.held--
	l.giveBack(m)
	q.ready |= l.bit
}

// leave takes a member out, whose deliveries have been given back.
func (q *queue) leave(m *member) {
	q.members = slices.DeleteFunc(q.members, func(o *member) bool { return o == m })
	for i := range q.lanes {
		if q.lanes[i].owner == m {
			q.lanes[i].endOwned()
			q.lanes[i].owner = nil
		}
	}
	q.assign()
	q.wake()
}

// assign divides the lanes of an ordered queue evenly among the members that are awake. Lanes with deliveries of a
// member that has too many are marked, and move when those are settled. What need not move stays.
func (q *queue) assign() {
	if !q.ordered {
		for _, m := range q.members {
			m.takes = 1
		}
		return
	}
	awake := 0
	for _, m := range q.members {
		if !m.src.asleep {
			awake++
		}
	}
	share := make(map[*member]int, len(q.members)) // lanes that each may still get
	extra := 0
	if awake > 0 {
		extra = lanes % awake
	}
	for _, m := range q.members {
		if m.src.asleep {
			continue
		}
		share[m] = lanes / awake
		if extra > 0 {
			share[m]++
			extra--
		}
	}
	for i := range q.lanes {
		l := &q.lanes[i]
		switch o := l.owner; {
		case o == nil:
		case share[o] > 0:
			share[o]--
			o.takes |= l.bit
		default:
			o.takes &^= l.bit
			if l.held == 0 {
				l.owner, l.owned, l.lose = nil, nil, nil
			}
		}
	}
	to := 0
	for i := range q.lanes {
		l := &q.lanes[i]
		if l.owner != nil {
			continue
		}
		for to < len(q.members) && share[q.members[to]] == 0 {
			to++
		}
		if to == len(q.members) {
			return
		}
		m := q.members[to]
		share[m]--
		l.owner = m
		m.takes |= l.bit
	}
}

// discard drops everything that the queue holds.
func (q *queue) discard() {
	for i := range q.lanes {
		for l := &q.lanes[i]; !l.empty(); {
			m, _ := l.pop()
			m.done()
		}
	}
	q.ready = 0
}
