package bustest

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// orderCases are the sentences about the order of an Ordered subscription (guarantees: K2). TRAPS: two deaths in a row show what one
// does not.
func orderCases() []Case {
	const says = "Ordered asks that messages of one key are delivered in order, also after redelivery"
	return []Case{
		{
			Name:   "Order/ReleasedBeforeLater",
			Says:   "the released ones of a key come before later ones of that key where the subscription is Ordered",
			Advice: "hand released deliveries out again, in the order in which they were sent, before anything newer of their lane",
			needs:  []need{needsOrder()},
			test:   releasedBeforeLater,
		},
		{
			Name:   "Order/OneOwner",
			Says:   says + ": to one owner at a time",
			Advice: "give each lane (partition, message group) to one member, and to the next only when nothing of it is unsettled",
			needs:  []need{needsOrder()},
			test:   oneOwner,
		},
		{
			Name:   "Order/DeathKeepsOrder",
			Says:   says,
			Advice: "begin at the lowest unsettled message of a lane when it is taken over (reset the durable to its ack floor, sort the redelivered run)",
			needs:  []need{needsOrder(), needsKill()},
			test:   func(p *probe) { p.deaths(1) },
		},
		{
			Name:   "Order/TwoDeathsKeepOrder", // [TwoDeathsKeepOrder]
			Says:   says + ": after two deaths in a row",
			Advice: "what the second owner got and did not settle goes back to its place, before what it never got; sort redelivered runs by sequence",
			needs:  []need{needsOrder(), needsKill()},
			test:   func(p *probe) { p.deaths(2) },
		},
	}
}

// inOrder checks that of every key the first arrivals come in the order in which they were sent.
func (p *probe) inOrder(ds []*bus.Delivery, sent []*sixfold.Envelope, when string) {
	p.Helper()
	place := make(map[string]int, len(sent))
	for i, e := range sent {
		place[e.ID] = i
	}
	seen := make(map[string]bool)
	last := make(map[string]int)
	for _, d := range ds {
		at, known := place[d.ID]
		if !known || seen[d.ID] {
			continue
		}
		seen[d.ID] = true
		if prev, ok := last[d.Key]; ok && at < prev {
			p.fail("%s, messages of the key %q came out of order: %s", when, d.Key, bodies(ds))
		}
		last[d.Key] = at
	}
}

func envelopes(batch []bus.Outgoing) []*sixfold.Envelope {
	es := make([]*sixfold.Envelope, len(batch))
	for i, o := range batch {
		es[i] = o.Envelope
	}
	return es
}

func releasedBeforeLater(p *probe) {
	topic := p.h.NewTopic(p)
	sub := ordered(topic)
	sub.MaxInFlight = 6
	src := p.subscribe(p.t, sub)
	batch := p.batch(topic, repeat("k", 9)...)
	p.mustSend(p.open(), batch...)
	ds := p.receive(src, 6)
	p.settle(src, ds[:2]...)
	rest := slices.Clone(ds[2:])
	slices.Reverse(rest)
	p.release(src, rest...)
	var again []*bus.Delivery
	for len(again) < 7 {
		more := p.receive(src, 1)
		again = append(again, more...)
		p.settle(src, more...)
	}
	p.inOrder(again, envelopes(batch), "after four were released with three more behind them")
}

// oneOwner has two members that settle nothing.
func oneOwner(p *probe) {
	topic := p.h.NewTopic(p)
	a, b := p.subscribe(p.t, ordered(topic)), p.subscribe(p.another(), ordered(topic))
	var keys []string
	for range 10 {
		for k := range 8 {
			keys = append(keys, string(rune('a'+k)))
		}
	}
	p.mustSend(p.open(), p.batch(topic, keys...)...)
	owner := make(map[string]bus.Source)
	last := make(map[string]*bus.Delivery)
	limit, cancel := context.WithTimeout(p.Context(), p.cfg.Patience)
	defer cancel()
	for rounds := 2; rounds > 0; { // since the first message came
		for _, src := range []bus.Source{a, b} {
			ds, _ := p.collect(src, len(keys), p.cfg.Quiet)
			for _, d := range ds {
				if o := owner[d.Key]; o != nil && o != src && isOurs(last[d.Key]) {
					p.fail("two members hold messages of the key %q at the same time", d.Key)
				}
				owner[d.Key], last[d.Key] = src, d
			}
		}
		if len(owner) > 0 || limit.Err() != nil {
			rounds--
		}
	}
	if len(owner) == 0 {
		p.fail("neither of two members received anything within %v", p.cfg.Patience)
	}
}

// deaths kills that many owners in a row, each with some messages settled, and looks at what the next one gets.
func (p *probe) deaths(n int) {
	topic := p.h.NewTopic(p)
	sub := ordered(topic)
	sub.MaxInFlight = 6
	owner := p.another()
	src := p.subscribe(owner, sub)
	batch := p.batch(topic, repeat("k", 12)...)
	p.mustSend(p.open(), batch...)
	settled := make(map[string]bool)
	for range n {
		for lost := true; lost; { // while the machine stands still
			lowest := slices.MinFunc(p.receive(src, 3), func(a, b *bus.Delivery) int {
				return cmp.Compare(p.placeOf(batch, a.ID), p.placeOf(batch, b.ID))
			})
			err := errors.Join(p.trySettle(src, false, lowest)...)
			if lost = err != nil; lost && isOurs(lowest) {
				p.fail("acknowledging a delivery that is ours failed: %v", err)
			}
			settled[lowest.ID] = settled[lowest.ID] || !lost
		}
		p.h.Kill(p, owner, src)
		owner = p.another()
		src = p.subscribe(owner, sub)
	}
	var rest []*bus.Delivery
	got := make(map[string]bool)
	for len(got) < len(batch)-len(settled) {
		ds := p.receive(src, 1)
		for _, d := range ds {
			if !settled[d.ID] {
				got[d.ID] = true
			}
		}
		rest = append(rest, ds...)
		p.trySettle(src, false, ds...)
	}
	p.inOrder(rest, envelopes(batch), "after "+map[int]string{1: "one death", 2: "two deaths"}[n])
}

func (p *probe) placeOf(batch []bus.Outgoing, id string) int {
	return slices.IndexFunc(batch, func(o bus.Outgoing) bool { return o.ID == id })
}
