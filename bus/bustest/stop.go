package bustest

import (
	"cmp"
	"slices"

	"github.com/sixfold-go/sixfold/bus"
)

// stopCases are the sentences about a planned stop: a source that is closed in order, with messages in hand (guarantees: K2, R2).
func stopCases() []Case {
	return []Case{
		{
			Name:   "Stop/SettledStaysSettled",
			Says:   "what was settled before Close does not come again after it, whatever lay unsettled before it; a driver that cannot keep that states RepeatsAfterStop",
			Advice: "settle each message on its own, or flush at Close what waits for an earlier one; where the broker knows a position alone, state RepeatsAfterStop",
			needs:  []need{needsNoRepeats()},
			test: func(p *probe) {
				p.stopped(group(p.h.NewTopic(p)))
				if p.t.Capabilities().OrderPerKey {
					p.stopped(ordered(p.h.NewTopic(p)))
				}
			},
		},
		{
			Name:   "Stop/KeepsOrder",
			Says:   "Close gives back what was delivered and not settled: in its place",
			Advice: "give back to where it came from, or hand the lane over at its lowest unsettled message",
			needs:  []need{needsOrder()},
			test:   func(p *probe) { p.stops(2) },
		},
	}
}

func needsNoRepeats() need {
	return capability(func(c bus.Capabilities) bool { return !c.RepeatsAfterStop }, "RepeatsAfterStop")
}

// stopped settles every second of what a member has, closes it, and looks at what the next one gets.
func (p *probe) stopped(sub bus.Subscription) {
	p.Helper()
	src := p.subscribe(p.t, sub)
	batch := p.batch(sub.Topics[0], "a", "b", "c", "d", "a", "b", "c", "d")
	p.mustSend(p.open(), batch...)
	ds := p.receive(src, len(batch))
	var settled []*bus.Delivery
	for i, d := range ds {
		if i%2 == 1 {
			settled = append(settled, d)
		}
	}
	p.settle(src, settled...)
	p.close("source", src.Close)
	next := p.subscribe(p.another(), sub)
	again, _ := p.collect(next, len(ds)-len(settled), p.cfg.RedeliverWithin) // that they come is another case
	late, _ := p.collect(next, 1, p.cfg.Quiet)
	again = append(again, late...)
	for _, d := range settled {
		if ids(again)[d.ID] > 0 {
			p.fail("of %s, %s were settled before Close, and %s came after it (ordered: %v)", bodies(ds), bodies(settled), bodies(again), sub.Ordered)
		}
	}
}

// stops is deaths, but each owner is closed in order.
func (p *probe) stops(n int) {
	p.Helper()
	topic := p.h.NewTopic(p)
	sub := ordered(topic)
	sub.MaxInFlight = 6
	src := p.subscribe(p.another(), sub)
	batch := p.batch(topic, repeat("k", 12)...)
	p.mustSend(p.open(), batch...)
	settled := make(map[string]bool)
	for range n {
		ds := p.receive(src, 3)
		lowest := slices.MinFunc(ds, func(a, b *bus.Delivery) int {
			return cmp.Compare(p.placeOf(batch, a.ID), p.placeOf(batch, b.ID))
		})
		p.settle(src, lowest)
		settled[lowest.ID] = true
		p.close("source", src.Close)
		src = p.subscribe(p.another(), sub)
	}
	var rest []*bus.Delivery
	got := make(map[string]bool)
	for len(got) < len(batch)-len(settled) {
		ds, _ := p.collect(src, 1, p.cfg.RedeliverWithin)
		if len(ds) == 0 {
			break // that they come is another case
		}
		for _, d := range ds {
			if !settled[d.ID] {
				got[d.ID] = true
			}
		}
		rest = append(rest, ds...)
		p.settle(src, ds...)
	}
	p.inOrder(rest, envelopes(batch), "after two planned stops")
}
