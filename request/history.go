package request

import "hash/maphash"

// A history has the last calls that have ended, to tell late replies from forged ones. They are found by a hash of their ids, so the
// garbage collector has nothing to follow in here; and nothing is ever taken out: the oldest is written over, and a chain ends where its next number
// is that of a call that was. newHistory makes one. Client.mu guards it.
type history struct {
	seed  maphash.Seed
	most  int        // of calls; a power of two
	ring  []pastCall // the call with number i, from 1 on, is at (i-1) % len(ring); the length is a power of two
	heads []uint64   // by bits of the hash: the number of the last call with those; 0: there was none
	n     uint64     // the number of the last call
}

// pastCall is a call that has ended.
type pastCall struct {
	hash   uint64 // its lowest bit says that there was a reply
	before uint64 // the number of the call before it with the same bits; 0: there was none
}

const replied = 1

// newHistory remembers at least so many.
func newHistory(most int) history {
	e := history{seed: maphash.MakeSeed(), most: 64}
	for e.most < most {
		e.most *= 2
	}
	return e
}

func (e *history) hash(id string) uint64 { return maphash.String(e.seed, id) &^ replied }

// add remembers a call, and whether it ended with a reply.
func (e *history) add(id string, reply bool) {
	if e.n == uint64(len(e.ring)) && len(e.ring) < e.most {
		e.grow()
	}
	h := e.hash(id)
	e.n++
	c := e.at(e.n)
	e.link(c, h, e.n)
	if reply {
		c.hash |= replied
	}
}

// find answers the call of an id, or nil. It is valid until the next add.
func (e *history) find(id string) *pastCall {
	if e.n == 0 {
		return nil
	}
	h, length := e.hash(id), uint64(len(e.ring))
	for i := e.heads[h>>1&(length-1)]; i != 0 && i+length > e.n; {
		c := e.at(i)
		if c.hash&^replied == h {
			return c
		}
		i = c.before
	}
	return nil
}

func (e *history) at(i uint64) *pastCall { return &e.ring[(i-1)&uint64(len(e.ring)-1)] }

func (e *history) link(c *pastCall, hash, i uint64) {
	head := &e.heads[hash>>1&uint64(len(e.heads)-1)]
	c.hash, c.before = hash, *head
	*head = i
}

// grow makes room for twice as many. The ring has not come round yet.
func (e *history) grow() {
	old := e.ring
	e.ring = make([]pastCall, max(64, 2*len(old)))
	e.heads = make([]uint64, len(e.ring))
	copy(e.ring, old)
	for i := range old {
		c := &e.ring[i]
		e.link(c, c.hash, uint64(i)+1)
	}
}
