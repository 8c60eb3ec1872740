package main

import "fmt"

// Kind of a violation.
type Kind string

// The kinds, each with the guarantees that it breaks.
const (
	Lost        Kind = "lost"         // O1, R1, I1: committed, and no effect at a consumer
	Duplicates  Kind = "duplicates"   // I1: an effect twice
	Phantoms    Kind = "phantoms"     // O1, O2: an effect of what was not committed
	OrderBreaks Kind = "order breaks" // K1, K2
	WrongAnswer Kind = "wrong answer" // O3: a commit was reported as something else
	Twice       Kind = "sent twice"   // O3: an id that the caller chose was committed twice
	DeadLetters Kind = "dead letters" // I8, R6: one too many, or one too few
	NotAudited  Kind = "not audited"  // a redrive that the audit does not know, or knows twice
	Resent      Kind = "resent"       // R2: sent or handled again after a planned stop
	Stuck       Kind = "stuck"        // R1, R7: the run did not come to an end in its time
	Exits       Kind = "exits"        // R2: a process that was asked to stop did not end well
	BadLedger   Kind = "bad ledger"   // a fault of the proof itself
)

// kinds in the order of the summary.
var kinds = [...]Kind{Lost, Duplicates, Phantoms, OrderBreaks, WrongAnswer, Twice, DeadLetters, NotAudited, Resent, Stuck, Exits, BadLedger}

// samples bounds the examples that are kept of each kind.
const samples = 5

// Violations are counted by kind, with a few examples.
type Violations struct {
	Count    map[Kind]int      `json:"count"`
	Examples map[Kind][]string `json:"examples,omitempty"`
}

func (v *Violations) add(k Kind, format string, args ...any) {
	if v.Count == nil {
		v.Count, v.Examples = map[Kind]int{}, map[Kind][]string{}
	}
	v.Count[k]++
	if len(v.Examples[k]) < samples {
		v.Examples[k] = append(v.Examples[k], fmt.Sprintf(format, args...))
	}
}

// Total is how many there are.
func (v *Violations) Total() (n int) {
	for _, c := range v.Count {
		n += c
	}
	return n
}

// place is where a message belongs.
type place struct {
	key string
	n   int64
}

// checker compares facts with what must be.
type checker struct {
	f      *Facts
	v      *Violations
	truth  map[msgID]place             // committed messages
	closed map[string]map[string]int64 // by consumer and key: the first number that cannot be handled
	Resolved
}

// Resolved says what became of transactions whose outcome was unknown to their publishers.
type Resolved struct {
	Committed  int `json:"committed"`
	RolledBack int `json:"rolled_back"`
}

// Check compares effects and answers with the ledger.
func Check(f *Facts, v *Violations) Resolved {
	c := &checker{f: f, v: v, truth: make(map[msgID]place, len(f.Effects)/2), closed: map[string]map[string]int64{}}
	for _, p := range f.Poison {
		if c.closed[p.Consumer] == nil {
			c.closed[p.Consumer] = map[string]int64{}
		}
		if first, ok := c.closed[p.Consumer][p.Key]; !ok || p.N < first {
			c.closed[p.Consumer][p.Key] = p.N
		}
	}
	c.transactions()
	c.tiles()
	by := map[string][]Effect{}
	for _, e := range f.Effects {
		by[e.Consumer] = append(by[e.Consumer], e)
	}
	for _, x := range f.Consumers {
		c.effects(x, by[x.Name])
		delete(by, x.Name)
	}
	for name := range by {
		v.add(Phantoms, "effects of consumer %q, which does not exist", name)
	}
	c.dead()
	return c.Resolved
}

// transactions compares what publishers were told with what was committed.
func (c *checker) transactions() {
	if c.f.CommittedTwice {
		c.v.add(BadLedger, "a transaction's row is there twice")
	}
	there := map[msgID]bool{} // ids of committed messages
	for i := range c.f.Txs {
		t := &c.f.Txs[i]
		committed := c.f.Committed[t.ID]
		switch {
		case committed && (t.Said == RolledBack || t.Said == Duplicate), !committed && t.Said == OK:
			c.v.add(WrongAnswer, "transaction %s (%s): the publisher was told %q, committed is %v; %s", t.ID, t.How, t.Said, committed, t.Err)
		case t.Said == Unknown || t.Said == Begun:
			if committed {
				c.Resolved.Committed++
			} else {
				c.Resolved.RolledBack++
			}
		}
		if !committed {
			continue
		}
		for _, m := range t.Messages {
			if m.Undone {
				continue
			}
			if there[m.ID] {
				c.v.add(Twice, "message %s was committed by two transactions, the second is %s", m.ID, t.ID)
			}
			there[m.ID] = true
			c.truth[m.ID] = place{m.Key, m.N}
		}
	}
	for i := range c.f.Txs {
		t := &c.f.Txs[i]
		if t.Said != Duplicate {
			continue
		}
		for _, m := range t.Messages {
			if !m.Undone && !there[m.ID] {
				c.v.add(WrongAnswer, "transaction %s (%s): message %s was refused as a duplicate, and was never committed", t.ID, t.How, m.ID)
			}
		}
	}
}

// tiles checks the ledger itself: the numbers of each key are exactly those of the committed messages.
func (c *checker) tiles() {
	seen := make(map[string]*bits, len(c.f.Keys))
	for id, p := range c.truth {
		b := seen[p.key]
		if b == nil {
			b = &bits{}
			seen[p.key] = b
		}
		if p.n < 1 || p.n > c.f.Keys[p.key] || !b.set(p.n) {
			c.v.add(BadLedger, "message %s is number %d of key %s, whose counter is at %d", id, p.n, p.key, c.f.Keys[p.key])
		}
	}
	for key, n := range c.f.Keys {
		if b := seen[key]; n > 0 && (b == nil || b.count != n) {
			c.v.add(BadLedger, "key %s is at %d, the publishers know of fewer messages", key, n)
		}
	}
}

// effects checks one consumer's effects, which come in the order of their insertion.
func (c *checker) effects(x Expect, es []Effect) {
	type state struct {
		bits
		highest int64
	}
	keys := make(map[string]*state, len(c.f.Keys))
	var ids map[msgID]bool // of followers, whose ids are not in the ledger
	if x.After != "" {
		ids = make(map[msgID]bool, len(es))
	}
	for _, e := range es {
		p := place{e.Key, e.N}
		s := keys[e.Key]
		if s == nil {
			s = &state{}
			keys[e.Key] = s
		}
		switch at, known := c.truth[e.Msg]; {
		case e.N < 1 || e.N > c.f.Keys[e.Key] || !x.wants(e.N), x.After == "" && (!known || at != p):
			c.v.add(Phantoms, "%s: number %d of key %s by message %s, which was not committed", x.Name, e.N, e.Key, e.Msg)
			continue
		case x.After != "" && ids[e.Msg]:
			c.v.add(Duplicates, "%s: message %s took effect twice", x.Name, e.Msg)
			continue
		}
		if ids != nil {
			ids[e.Msg] = true
		}
		if !s.set(e.N) {
			c.v.add(Duplicates, "%s: number %d of key %s took effect twice (message %s)", x.Name, e.N, e.Key, e.Msg)
			continue
		}
		if !c.may(x, p) {
			c.v.add(OrderBreaks, "%s: number %d of key %s took effect, although a dead letter of its key comes before it", x.Name, e.N, e.Key)
		}
		if e.N < s.highest {
			c.v.add(OrderBreaks, "%s: number %d of key %s took effect after number %d", x.Name, e.N, e.Key, s.highest)
		}
		s.highest = max(s.highest, e.N)
	}
	if c.f.Unended {
		return
	}
	for key, n := range c.f.Keys {
		s := keys[key]
		for i := int64(1); i <= n; i++ {
			if x.wants(i) && c.may(x, place{key, i}) && (s == nil || !s.has(i)) {
				c.v.add(Lost, "%s: number %d of key %s was committed and took no effect", x.Name, i, key)
			}
		}
	}
}

// may reports whether what is at p can be handled: before the handlers are repaired nothing of a key is from the first
// message on that cannot be, and nothing follows it.
func (c *checker) may(x Expect, p place) bool {
	if c.f.Repaired {
		return true
	}
	own, dies := c.closed[x.Name][p.key]
	source, ends := c.closed[x.After][p.key]
	return (!dies || p.n < own) && (x.After == "" || !ends || p.n < source)
}

// dead checks that of each key the first message that cannot be handled, and nothing else, became a dead letter, once: what
// comes behind it waits. A message that nobody sends, as it follows one that is not handled, becomes none.
func (c *checker) dead() {
	left := map[Effect]int{}
	for _, x := range c.f.Consumers {
		for key, n := range c.closed[x.Name] {
			if source, ends := c.closed[x.After][key]; x.After == "" || !ends || n < source {
				left[Effect{Consumer: x.Name, Key: key, N: n}] = 1
			}
		}
	}
	for _, d := range c.f.Dead {
		e := d
		e.Msg = msgID{}
		if left[e]--; left[e] < 0 {
			c.v.add(DeadLetters, "%s: number %d of key %s (message %s) is a dead letter without a cause, or once too often", d.Consumer, d.N, d.Key, d.Msg)
		}
	}
	for e, n := range left {
		if n > 0 && !c.f.Unended {
			c.v.add(DeadLetters, "%s: number %d of key %s cannot be handled and did not become a dead letter", e.Consumer, e.N, e.Key)
		}
	}
	if c.f.Repaired && c.f.NotAudited > 0 {
		c.v.add(NotAudited, "%d dead letters were sent again, or not, other than the audit says", c.f.NotAudited)
	}
}

// bits is a set of positive numbers.
type bits struct {
	words []uint64
	count int64
}

// set adds n and reports whether it was missing.
func (b *bits) set(n int64) bool {
	w, bit := int(n/64), uint64(1)<<(n%64)
	for len(b.words) <= w {
		b.words = append(b.words, 0)
	}
	if b.words[w]&bit != 0 {
		return false
	}
	b.words[w] |= bit
	b.count++
	return true
}

func (b *bits) has(n int64) bool {
	w := int(n / 64)
	return w < len(b.words) && b.words[w]&(1<<(n%64)) != 0
}
