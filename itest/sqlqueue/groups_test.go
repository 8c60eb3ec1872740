package sqlqueue

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/outbox"
)

// A group that comes late begins with what its topic keeps, or with what is sent from then on; a topic that nobody wants has
// no place. guarantees: R1 [UnroutableIsFailure]
func TestLateGroup(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		o := w.fast()
		o.FromKept = true
		p, now := w.process(t, o), w.process(t, w.fast())
		topic := w.topic()
		sender := hand.Open(t, p)
		if err := errors.Join(sender.Send(t.Context(), hand.Messages(topic, "a/0")).Wait(t.Context())...); !errors.Is(err, bus.ErrUnroutable) {
			t.Errorf("a message that nobody wants: %v", err)
		}
		if err := p.Keep(t.Context(), topic, time.Hour); err != nil {
			t.Fatal(err)
		}
		hand.MustSend(t, hand.Open(t, p), hand.Messages(topic, "a/1", "b/1", "a/2")...)
		late := hand.Subscribe(t, p, bus.Subscription{Topics: []string{topic}, Group: "late"})
		from := hand.Subscribe(t, now, bus.Subscription{Topics: []string{topic}, Group: "now"})
		hand.MustSend(t, hand.Open(t, p), hand.Messages(topic, "a/3")...)
		if got := hand.Bodies(hand.Receive(t, late, 4)); len(got) != 4 || slices.Index(got, "a/1") > slices.Index(got, "a/2") || slices.Index(got, "a/2") > slices.Index(got, "a/3") {
			t.Errorf("the late group got %v", got)
		}
		if got := hand.Bodies(hand.Receive(t, from, 1)); !slices.Equal(got, []string{"a/3"}) {
			t.Errorf("the group that begins now got %v", got)
		}
		nothing(t, late)
	})
}

// What is kept goes when its time is over, in small steps, beside others who remove too; what is younger stays, and so does
// what waits for a group. [PruneIsPolite]
func TestPurgeIsPolite(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		p := w.process(t, w.fast())
		topic := w.topic()
		if err := p.Keep(t.Context(), topic, time.Hour); err != nil {
			t.Fatal(err)
		}
		src := hand.Subscribe(t, p, group(topic))
		hand.MustSend(t, hand.Open(t, p), numbered(topic, "k", 25)...)
		age := "UPDATE {q}queue SET created_at = created_at - interval '2 hours' WHERE class IN (SELECT id FROM {q}queue_group WHERE kind = 3)"
		if w.kind != "postgres" { // times are numbers
			age = "UPDATE {q}queue SET created_at = created_at - 7200000000 WHERE class IN (SELECT id FROM {q}queue_group WHERE kind = 3)"
		}
		if n := w.exec(t, age); n != 25 {
			t.Fatalf("%d rows are kept", n)
		}
		hand.MustSend(t, hand.Open(t, p), hand.Messages(topic, "k/young")...)
		part, _, err := p.store.Broker().Attach(t.Context(), topic, "shipping", "", false)
		if err != nil {
			t.Fatal(err)
		}
		removed := make(chan int, 2)
		for range cap(removed) { // two who purge at once
			go func() {
				total := 0
				for {
					n, err := part.Keeper().Purge(t.Context(), 10)
					if err != nil {
						t.Error(err)
					}
					if n > 10 {
						t.Errorf("a purge of 10 removed %d of a group", n)
					}
					if total += n; n < 10 {
						removed <- total
						return
					}
				}
			}()
		}
		if total := <-removed + <-removed; total > 25 {
			t.Errorf("%d were removed, 25 are old", total)
		}
		for { // one may have skipped what the other had in hand
			n, err := part.Keeper().Purge(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
		}
		for _, g := range w.groups(t, p) {
			if g.Topic == topic && (g.Kept && g.Pending != 1 || !g.Kept && g.Pending != 26) {
				t.Errorf("%+v: 1 should be kept and 26 wait", g)
			}
		}
		hand.Settle(t, src, hand.Receive(t, src, 26)...)
	})
}

// A group that is removed takes what waits for it along, and nothing more is written for it.
func TestForget(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		p := w.process(t, w.fast())
		topic := w.topic()
		src := hand.Subscribe(t, p, group(topic))
		hand.MustSend(t, hand.Open(t, p), numbered(topic, "k", 5)...)
		if err := src.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []bool{true, false} {
			if found, err := p.Forget(t.Context(), topic, "shipping"); err != nil || found != want {
				t.Errorf("Forget: %t, %v, want %t", found, err, want)
			}
		}
		if _, err := p.Forget(t.Context(), topic, ""); err == nil {
			t.Error("a group without a name was forgotten")
		}
		if err := errors.Join(hand.Open(t, p).Send(t.Context(), hand.Messages(topic, "k/6")).Wait(t.Context())...); !errors.Is(err, bus.ErrUnroutable) {
			t.Errorf("a message for a group that is gone: %v", err)
		}
		part, _, err := p.store.Broker().Attach(t.Context(), w.topic(), "other", "", false)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := part.Keeper().Purge(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
		}
		for _, g := range w.groups(t, p) {
			if g.Topic == topic && !g.Kept {
				t.Errorf("%+v is still there", g)
			}
		}
		nothing(t, hand.Subscribe(t, p, group(topic))) // a new group of that name has none of the old one's
	})
}

// The copy of a process that has been gone for a minute goes, with its rows. If the process was only frozen, it begins anew.
func TestCopyOfADeadProcessGoes(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		p, other := w.process(t, w.fast()), w.process(t, w.fast())
		topic := w.topic()
		src := hand.Subscribe(t, p, bus.Subscription{Topics: []string{topic}})
		hand.MustSend(t, hand.Open(t, other), hand.Messages(topic, "k/1")...)
		hand.Receive(t, src, 1)
		p.line.cutNow()
		w.until(t, "nothing of it is under way", func() bool { return !p.line.busy() }) // such as a heartbeat
		if w.kind != "postgres" {
			w.exec(t, "UPDATE {q}queue_group SET made_at = made_at - 600000000")
			w.exec(t, "UPDATE {q}node SET until = until - 600000000")
		} else {
			w.exec(t, "UPDATE {q}queue_group SET made_at = made_at - interval '10 minutes'")
			w.exec(t, "UPDATE {q}node SET until = until - interval '10 minutes'")
		}
		part, _, err := other.store.Broker().Attach(t.Context(), topic, "other", "", false)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := part.Keeper().Purge(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
		}
		if n := w.exec(t, "DELETE FROM {q}queue_group WHERE kind = 2"); n != 0 {
			t.Errorf("%d copies are left", n)
		}
		hand.MustSend(t, hand.Open(t, other), hand.Messages(topic, "k/2")...) // for the other group alone
		p.line.restore()
		again := make(chan []*bus.Delivery, 1)
		go func() { again <- hand.Receive(t, src, 1) }()
		w.until(t, "the copy is there again", func() bool {
			return slices.ContainsFunc(w.groups(t, other), func(g groupOf) bool { return g.Topic == topic && g.Copy && !g.Leaving && g.Nodes > 0 })
		})
		hand.MustSend(t, hand.Open(t, other), hand.Messages(topic, "k/3")...)
		if got := hand.Bodies(<-again); !slices.Equal(got, []string{"k/3"}) {
			t.Errorf("after a long absence the copy got %v", got)
		}
	})
}

// Of the topics of a subscription those with more priority come first among what waits, and each keeps its order.
// guarantees: K2
func TestPriority(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		low, high := w.topic(), w.topic()
		o := w.fast()
		o.Priority = map[string]int{high: 1}
		o.Lease = time.Minute // who has lost it for a moment looks elsewhere meanwhile
		p := w.process(t, o)
		sub := group(low, high)
		sub.MaxInFlight = 2
		src := hand.Subscribe(t, p, sub)
		sender := hand.Open(t, p)
		hand.MustSend(t, sender, hand.Messages(high, "k/first")...) // then it has the lease of that topic as well
		hand.Settle(t, src, hand.Receive(t, src, 1)...)
		hand.MustSend(t, sender, numbered(low, "k", 6)...)
		var got []string
		ds := hand.Receive(t, src, 2)
		hand.MustSend(t, sender, numbered(high, "k", 4)...)
		for len(got) < 10 {
			for _, d := range ds {
				got = append(got, strings.TrimPrefix(d.Topic, "topic.")+":"+string(d.Body))
			}
			hand.Settle(t, src, ds...)
			ds = nil
			if len(got) < 10 {
				ds = hand.Receive(t, src, 1)
			}
		}
		l, h := strings.TrimPrefix(low, "topic."), strings.TrimPrefix(high, "topic.")
		want := []string{l + ":k/0", l + ":k/1", h + ":k/0", h + ":k/1", h + ":k/2", h + ":k/3", l + ":k/2", l + ":k/3", l + ":k/4", l + ":k/5"}
		if !slices.Equal(got, want) {
			t.Errorf("they came as %v\nwant %v", got, want)
		}
	})
}

// An idle subscription asks at most twice a second. guarantees: R8
func TestIdleAsksLittle(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		o := w.fast()
		o.Lease, o.Poll = 0, 0
		p := w.process(t, o)
		topic := w.topic()
		src := hand.Subscribe(t, p, group(topic))
		hand.MustSend(t, hand.Open(t, p), hand.Messages(topic, "k/1")...)
		hand.Settle(t, src, hand.Receive(t, src, 1)...)
		w.idle(t, src, 3*time.Second) // its polls grow rare
		before, began := p.line.asked(), time.Now()
		w.idle(t, src, 6*time.Second)
		if n, d := p.line.asked()-before, time.Since(began); n > 2*int(d/time.Second) {
			t.Errorf("in %v an idle subscription asked %d times", d, n)
		}
	})
}

// The rows of a group know no claims: a message may be there twice.
func TestNoClaims(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		p := w.process(t, w.fast())
		topic := w.topic()
		src := hand.Subscribe(t, p, group(topic))
		batch := hand.Messages(topic, "k/1")
		hand.MustSend(t, hand.Open(t, p), batch[0], batch[0])
		for _, d := range hand.Receive(t, src, 2) {
			if d.Claims != nil || d.Attempts != 0 || d.ID != batch[0].ID {
				t.Errorf("%+v", d)
			}
		}
		part, _, err := p.store.Broker().Attach(t.Context(), topic, "shipping", "", false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Queue(outbox.ToLocal).Bury(t.Context(), "", nil); err == nil {
			t.Error("a broker's rows were buried")
		}
	})
}
