package bustest

import (
	"context"
	"errors"

	"github.com/sixfold-go/sixfold/bus"
)

// subscriptionCases are the sentences about who gets what.
func subscriptionCases() []Case {
	const shared = "Subscribe opens a Source that is shared by every process which names the same group"
	return []Case{
		{
			Name:   "Group/Divides",
			Says:   shared + ": they divide the messages among them",
			Advice: "make one queue (durable, consumer group) per group's name, and let every subscriber of that name attach to it",
			test:   groupDivides,
		},
		{
			Name:   "Group/EachGetsAll",
			Says:   shared + ", and by no others",
			Advice: "make the group's name part of the queue's (durable's) name, and bind every queue to the topic",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				one, two := group(topic), group(topic)
				two.Group = "another"
				a, b := p.subscribe(p.t, one), p.subscribe(p.another(), two)
				batch := p.batch(topic, "k", "l", "m", "n")
				p.mustSend(p.open(), batch...)
				da, _ := p.collect(a, len(batch), p.cfg.Patience)
				p.settle(a, da...)
				db, _ := p.collect(b, len(batch), p.cfg.Patience)
				for _, o := range batch {
					if ids(da)[o.ID] == 0 || ids(db)[o.ID] == 0 {
						p.fail("of %d messages one group got %s, the other %s", len(batch), bodies(da), bodies(db))
					}
				}
			},
		},
		{
			Name:   "Group/WaitsWhileAway",
			Says:   shared + "; what is sent while all of them are away waits for the next",
			Advice: "make the group's queue durable: not exclusive, not deleted with its last subscriber, and take it up again by name",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.close("source", src.Close)
				batch := p.batch(topic, "k", "l")
				p.mustSend(p.open(), batch...)
				p.receive(p.subscribe(p.t, group(topic)), len(batch))
			},
		},
		{
			Name:   "Group/SeveralTopics",
			Says:   "Subscription.Topics says what a Source receives: at least one",
			Advice: "bind the group's queue to every topic, or poll one after the other in turn",
			test: func(p *probe) {
				one, two := p.h.NewTopic(p), p.h.NewTopic(p)
				src := p.subscribe(p.t, bus.Subscription{Topics: []string{one, two}, Group: "conformance"})
				batch := append(p.batch(one, "k"), p.batch(two, "k")...)
				p.mustSend(p.open(), batch...)
				ds := p.receive(src, 2)
				if got := ids(ds); got[batch[0].ID] == 0 || got[batch[1].ID] == 0 {
					p.fail("of one message on each of two topics, %s arrived", bodies(ds))
				}
			},
		},
		{
			Name:   "Copy/EachGetsAll",
			Says:   "without a group, a copy for this process alone",
			Advice: "make a queue of its own (exclusive, ephemeral, with a random name) for each subscription without a group",
			needs:  []need{needsCopies()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				sub := bus.Subscription{Topics: []string{topic}}
				a, b := p.subscribe(p.t, sub), p.subscribe(p.another(), sub)
				batch := p.batch(topic, "k", "l", "m")
				p.mustSend(p.open(), batch...)
				for _, src := range []bus.Source{a, b} {
					ds, _ := p.collect(src, len(batch), p.cfg.Patience)
					for _, o := range batch {
						if ids(ds)[o.ID] != 1 {
							p.fail("of %d messages one of two copies got %s", len(batch), bodies(ds))
						}
					}
				}
			},
		},
		{
			Name:   "Copy/BeginsNow",
			Says:   "a copy begins with what is sent from now on",
			Advice: "start at the end (JetStream DeliverNew, Kafka latest, a new queue), and have that in force before Subscribe returns",
			needs:  []need{needsCopies()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				sender := p.open()
				p.mustSend(sender, p.batch(topic, "before")...)
				src := p.subscribe(p.t, bus.Subscription{Topics: []string{topic}})
				after := p.batch(topic, "after")
				p.mustSend(sender, after...)
				for _, d := range p.receive(src, 1) {
					if d.ID != after[0].ID {
						p.fail("a copy got %s, which was sent before it subscribed", bodies([]*bus.Delivery{d}))
					}
				}
				p.nothing(src, "after the only message since it subscribed")
			},
		},
		{
			Name:   "Copy/NothingWhileAway",
			Says:   "every process gets a copy of every message, from the moment it subscribes, and none while it is away",
			Advice: "remove the copy's queue (consumer) at Close, and take none up again",
			needs:  []need{needsCopies()},
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				sub := bus.Subscription{Topics: []string{topic}}
				p.subscribe(p.another(), sub) // so that the topic has a place for what is sent
				src := p.subscribe(p.t, sub)
				p.close("source", src.Close)
				p.mustSend(p.open(), p.batch(topic, "away")...)
				p.nothing(p.subscribe(p.t, sub), "when a copy subscribed again after a message")
			},
		},
		{
			Name:   "Copy/RefusedWithoutIt",
			Says:   "without a group, a copy for this process alone; a driver that cannot refuses",
			Advice: "answer ErrRefused to a Subscription without a Group when Capabilities.Copies is false",
			needs:  []need{needsNoCopies()},
			test: func(p *probe) {
				if _, err := p.trySubscribe(p.t, bus.Subscription{Topics: []string{p.h.NewTopic(p)}}); !errors.Is(err, bus.ErrRefused) {
					p.fail("a subscription without a group was answered with %v", err)
				}
			},
		},
		{
			Name:   "InFlight/Bounded",
			Says:   "MaxInFlight bounds the deliveries handed out and not settled",
			Advice: "count what Receive has handed out, take off what was settled, and fetch (prefetch) no more than the rest",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				sub := group(topic)
				sub.MaxInFlight = 4
				src := p.subscribe(p.t, sub)
				p.mustSend(p.open(), p.batch(topic, repeat("", 10)...)...)
				ds := p.receive(src, 4)
				if len(ds) > 4 {
					p.fail("with MaxInFlight 4, %d were handed out", len(ds))
				}
				p.nothing(src, "with MaxInFlight 4 and 4 handed out")
				p.settle(src, ds[:2]...)
				if ds = p.receive(src, 2); len(ds) > 2 {
					p.fail("with MaxInFlight 4 and 2 settled, %d more were handed out", len(ds))
				}
				p.nothing(src, "with MaxInFlight 4 and 4 handed out again")
			},
		},
		{
			Name:   "InFlight/GoesOn",
			Says:   "MaxInFlight bounds the deliveries handed out and not settled: a Receive that waits at the bound goes on after Settle",
			Advice: "let Settle wake a Receive that waits for room",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				sub := group(topic)
				sub.MaxInFlight = 2
				src := p.subscribe(p.t, sub)
				p.mustSend(p.open(), p.batch(topic, repeat("", 4)...)...)
				ds := p.receive(src, 2)
				got := p.background(func(ctx context.Context) (ds []*bus.Delivery, err error) {
					for len(ds) == 0 && err == nil {
						ds, err = src.Receive(ctx, 10)
					}
					return ds, err
				})
				p.listen(got)
				p.settle(src, ds...)
				if r := p.await(got); len(r.ds) == 0 {
					p.fail("with MaxInFlight 2, a Receive that waited while both were settled answered no delivery and the error %v", r.err)
				}
			},
		},
		{
			Name:   "InFlight/Default",
			Says:   "MaxInFlight 0 is 1,000",
			Advice: "put 1,000 where the subscription says 0",
			test: func(p *probe) {
				topic := p.h.NewTopic(p)
				src := p.subscribe(p.t, group(topic))
				p.mustSend(p.open(), p.batch(topic, repeat("", 1050)...)...)
				if ds := p.receive(src, 1000); len(ds) > 1000 {
					p.fail("%d were handed out", len(ds))
				}
				p.nothing(src, "with 1,000 handed out")
			},
		},
		{
			Name:   "Order/RefusedWithoutIt",
			Says:   "Ordered asks that messages of one key are delivered in order; a driver that cannot refuses",
			Advice: "answer ErrRefused to an Ordered subscription when Capabilities.OrderPerKey is false",
			needs:  []need{needsNoOrder()},
			test: func(p *probe) {
				if _, err := p.trySubscribe(p.t, ordered(p.h.NewTopic(p))); !errors.Is(err, bus.ErrRefused) {
					p.fail("an Ordered subscription was answered with %v", err)
				}
			},
		},
	}
}

func groupDivides(p *probe) {
	topic := p.h.NewTopic(p)
	a, b := p.subscribe(p.t, group(topic)), p.subscribe(p.another(), group(topic))
	keys := make([]string, 40)
	for i := range keys {
		keys[i] = string(rune('A' + i))
	}
	batch := p.batch(topic, keys...)
	p.mustSend(p.open(), batch...)
	var all []*bus.Delivery
	listen := func() {
		for _, src := range []bus.Source{a, b} { // whatever each gets is settled, so that nothing comes again
			ds, _ := p.collect(src, len(batch), p.cfg.Quiet)
			p.settle(src, ds...)
			all = append(all, ds...)
		}
	}
	limit, cancel := context.WithTimeout(p.Context(), p.cfg.Patience)
	defer cancel()
	for len(ids(all)) < len(batch) && limit.Err() == nil {
		listen()
	}
	listen() // for what comes twice
	got := ids(all)
	for _, o := range batch {
		if got[o.ID] != 1 {
			p.fail("two members of a group got the message %q %d times; together they got %d of %d", o.Body, got[o.ID], len(all), len(batch))
		}
	}
}
