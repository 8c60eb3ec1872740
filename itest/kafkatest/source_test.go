package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/leaks"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// committed waits until the group's offset of a partition is that, and says what it is otherwise.
func (f *fixture) committed(tb testing.TB, topic string, partition int32, want int64) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	last := int64(-1)
	_, err := f.fake.WaitGroupInfo(ctx, "shipping", func(g *kfake.GroupInfo) bool {
		if g == nil {
			return false
		}
		if c, there := g.Commits[topic][partition]; there {
			last = c.Offset
		}
		return last == want
	})
	if err != nil {
		tb.Errorf("partition %d of %s is committed up to %d, want %d", partition, topic, last, want)
	}
}

func find(ds []*bus.Delivery, body string) *bus.Delivery {
	i := slices.IndexFunc(ds, func(d *bus.Delivery) bool { return string(d.Body) == body })
	if i < 0 {
		return nil
	}
	return ds[i]
}

// Only what is settled without gaps is committed. [CommitsHaveNoGaps]
// guarantees: R2, K2
func TestCommitsHaveNoGaps(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, calm(kafka.Options{Partitions: 1}))
	topic := declare(t, tr, f.topic())
	src := hand.Subscribe(t, tr, group(topic))
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "a/0", "b/1", "c/2", "d/3")...)
	ds := hand.Receive(t, src, 4)
	hand.Settle(t, src, ds[1], ds[3])
	f.committed(t, topic, 0, 0)
	hand.Settle(t, src, ds[0])
	f.committed(t, topic, 0, 2)
	hand.Settle(t, src, ds[2])
	f.committed(t, topic, 0, 4)
}

// A partition that goes to another member is drained first: what was handed out is settled there, and nobody gets it twice.
// guarantees: R2, K2
func TestRevocationDrains(t *testing.T) {
	for name, o := range map[string]kafka.Options{"classic": {}, "KIP-848": {ServerSide: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, calmGroups())
			a, _ := f.connect(t, calm(o))
			b, _ := f.connect(t, calm(o))
			topic := declare(t, a, f.topic())
			one := hand.Subscribe(t, a, group(topic))
			var texts []string
			for i := range 40 {
				texts = append(texts, fmt.Sprintf("k%d/%d", i, i))
			}
			hand.MustSend(t, hand.Open(t, a), hand.Messages(topic, texts...)...)
			ds := hand.Receive(t, one, 40)
			two := hand.Subscribe(t, b, group(topic))
			got := make(chan []*bus.Delivery, 1)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			go func() {
				ds, _ := two.Receive(ctx, 100)
				got <- ds
			}()
			select {
			case ds := <-got:
				t.Fatalf("another member got %v while the first had them", hand.Bodies(ds))
			case <-time.After(longSession/5 + 1500*time.Millisecond): // a heartbeat tells of a rebalance, which takes less
			}
			for _, d := range ds {
				if d.Owned.Err() != nil {
					t.Fatal("a delivery ended before its drain limit")
				}
			}
			hand.Settle(t, one, ds...)
			// The other has partitions now, and only what is new.
			s := hand.Open(t, a)
			var all []*bus.Delivery
			for round := 0; ; round++ {
				hand.MustSend(t, s, hand.Messages(topic, fmt.Sprintf("k%d/new", round))...)
				select {
				case all = <-got:
				case <-time.After(50 * time.Millisecond):
					continue
				}
				break
			}
			if len(all) == 0 {
				t.Error("another member got nothing")
			}
			for _, d := range all {
				if find(ds, string(d.Body)) != nil {
					t.Errorf("%s came to both", d.Body)
				}
			}
		})
	}
}

// While a partition is drained nothing more of it is handed out, so that a member that always has something in hand gives it away
// all the same, long before the drain limit.
// guarantees: K2
func TestDrainHandsOutNothingMore(t *testing.T) {
	f := newFake(t)
	o := kafka.Options{Partitions: 2, DrainTimeout: 2 * time.Minute}
	a, _ := f.connect(t, calm(o))
	b, _ := f.connect(t, calm(o))
	topic := declare(t, a, f.topic())
	one := hand.Subscribe(t, a, group(topic))
	var texts []string
	for i := range 6000 { // which last for a minute at the pace below
		texts = append(texts, fmt.Sprintf("k%d/%d", i%50, i))
	}
	hand.MustSend(t, hand.Open(t, a), hand.Messages(topic, texts...)...)
	inHand, err := one.Receive(t.Context(), 1) // then it has both partitions
	if err != nil {
		t.Fatal(err)
	}
	two := hand.Subscribe(t, b, group(topic))
	got, working := make(chan []*bus.Delivery, 1), make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	go func() {
		ds, _ := two.Receive(ctx, 1)
		got <- ds
	}()
	go func() { // the first has the last six in hand, of both partitions as long as it gets something of both
		defer close(working)
		for pace := time.NewTicker(10 * time.Millisecond); ctx.Err() == nil; <-pace.C {
			limited, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
			ds, _ := one.Receive(limited, 1)
			cancel()
			if inHand = append(inHand, ds...); len(inHand) > 6 || len(inHand) > 0 && len(ds) == 0 {
				one.Settle(ctx, []bus.Settlement{{Delivery: inHand[0]}})
				inHand = inHand[1:]
			}
		}
	}()
	if ds := <-got; len(ds) == 0 {
		t.Error("a member that is always busy keeps a partition that it should give away")
	}
	cancel()
	<-working
}

// What a drain does not end in time is taken away: contexts end, and the next member gets it.
func TestDrainIsBounded(t *testing.T) {
	f := newFake(t)
	o := kafka.Options{Partitions: 2, DrainTimeout: 300 * time.Millisecond}
	a, _ := f.connect(t, fast(o))
	b, _ := f.connect(t, fast(o))
	topic := declare(t, a, f.topic())
	one := hand.Subscribe(t, a, group(topic))
	hand.MustSend(t, hand.Open(t, a), hand.Messages(topic, "a/1", "b/2", "c/3", "d/4", "e/5", "f/6")...)
	ds := hand.Receive(t, one, 6)
	again := hand.Receive(t, hand.Subscribe(t, b, group(topic)), 1)
	for _, d := range again {
		first := find(ds, string(d.Body))
		if first == nil || first.Owned.Err() == nil {
			t.Fatalf("%s went to another member while its context lasts", d.Body)
		}
		if !d.Redelivered {
			t.Errorf("%s says that nobody had it", d.Body)
		}
		if err := hand.TrySettle(t, one, false, first)[0]; !errors.Is(err, bus.ErrLost) {
			t.Errorf("settling it there answered %v", err)
		}
	}
}

// A member that hears nothing from the brokers stops before they give its partitions to others, and begins again when it is back.
// guarantees: R5, K2
func TestSilentMemberStops(t *testing.T) {
	f := newFake(t)
	tr, n := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, tr, f.topic())
	src := hand.Subscribe(t, tr, group(topic))
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "k/1")...)
	var took []time.Duration
	for range 5 { // a busy machine is late now and then, and not each time
		d := hand.Receive(t, src, 1)[0]
		cut := time.Now()
		n.cut()
		select {
		case <-d.Owned.Done():
		case <-time.After(time.Minute):
			t.Fatal("a member that was cut off goes on")
		}
		took = append(took, time.Since(cut))
		n.restore()
		again := hand.Receive(t, src, 1)[0]
		if again.ID != d.ID || !again.Redelivered {
			t.Errorf("%s came, redelivered %v", again.Body, again.Redelivered)
		}
		hand.Settle(t, src, again)
		if took[len(took)-1] <= 1500*time.Millisecond+200*time.Millisecond {
			return
		}
		f.committed(t, topic, 0, int64(len(took)))
		hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, "k/1")...)
	}
	t.Errorf("it went on for %v, the session time-out is 1.5 s", took)
}

// Heartbeats go on however long handlers take, and while nobody receives; and what waited goes on after a rebalance.
// guarantees: K2
func TestSlowHandlersKeepTheirPartitions(t *testing.T) {
	t.Parallel() // it waits more than it works
	const session = longSession * 4 / 5
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{Partitions: 2, SessionTimeout: session}))
	topic := declare(t, tr, f.topic())
	sub := group(topic)
	sub.MaxInFlight = 2
	src := hand.Subscribe(t, tr, sub)
	var texts []string
	for i := range 300 {
		texts = append(texts, fmt.Sprintf("k%d/%d", i%10, i))
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(topic, texts...)...)
	ds := hand.Receive(t, src, 2)
	<-time.After(2*session + session/8) // more than two session time-outs
	if err := src.Extend(t.Context(), ds); err != nil {
		t.Fatal(err)
	}
	hand.Settle(t, src, ds...)
	left := map[string]bool{}
	for _, text := range texts {
		left[text] = true
	}
	for _, d := range ds {
		delete(left, string(d.Body))
	}
	other, _ := f.connect(t, fast(kafka.Options{SessionTimeout: session}))
	two := hand.Subscribe(t, other, sub)
	if _, err := f.fake.WaitGroupStable(t.Context(), "shipping", 2); err != nil {
		t.Fatal(err)
	}
	if err := two.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for len(left) > 0 {
		ds := hand.Receive(t, src, 1)
		for _, d := range ds {
			delete(left, string(d.Body))
		}
		hand.Settle(t, src, ds...)
	}
}

// After a death what may have been in hand is suspect, and nothing that came later.
// guarantees: I8
func TestSuspectsAfterADeath(t *testing.T) {
	f := newFake(t)
	a, n := f.connect(t, fast(kafka.Options{Partitions: 1}))
	b, _ := f.connect(t, calm(kafka.Options{}))
	topic := declare(t, a, f.topic())
	sub := group(topic)
	sub.MaxInFlight = 4
	src := hand.Subscribe(t, a, sub)
	hand.MustSend(t, hand.Open(t, a), hand.Messages(topic, "a/0", "b/1", "c/2", "d/3", "e/4", "f/5")...)
	hand.Settle(t, src, hand.Receive(t, src, 4)[0])
	f.committed(t, topic, 0, 1)
	n.cut()
	two := hand.Subscribe(t, b, group(topic))
	ds := hand.Receive(t, two, 5)
	for _, d := range ds[:3] {
		if !d.Redelivered {
			t.Errorf("%s was in hand and is not suspect", d.Body)
		}
	}
	hand.MustSend(t, hand.Open(t, b), hand.Messages(topic, "g/6", "h/7")...)
	for _, d := range hand.Receive(t, two, 2) {
		if d.Redelivered {
			t.Errorf("%s came after the take-over and is suspect", d.Body)
		}
	}
}

// [TwoDeathsKeepOrder] is a case of bustest; this is a planned stop of a group of two with everything in hand.
// guarantees: R2
func TestPlannedStopRepeatsNothing(t *testing.T) {
	f := newFake(t)
	a, _ := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, a, f.topic())
	var texts []string
	for i := range 400 {
		texts = append(texts, fmt.Sprintf("k%d/%d", i%20, i))
	}
	hand.MustSend(t, hand.Open(t, a), hand.Messages(topic, texts...)...)
	var handled, twice atomic.Int64
	seen := make(map[string]bool)
	for len(seen) < len(texts) {
		tr, _ := f.connect(t, calm(kafka.Options{}))
		src := hand.Subscribe(t, tr, group(topic))
		ds := hand.Receive(t, src, 1)
		for i, d := range ds {
			if i%3 == 2 {
				continue // in hand, and not begun
			}
			if seen[string(d.Body)] {
				twice.Add(1)
			}
			seen[string(d.Body)] = true
			hand.Settle(t, src, d)
			handled.Add(1)
		}
		if err := tr.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if twice.Load() > 0 {
		t.Errorf("%d of %d were handled twice", twice.Load(), handled.Load())
	}
}

// A source and a sender leave no goroutine behind.
func TestNothingIsLeftBehind(t *testing.T) {
	f := newFake(t)
	setup, _ := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, setup, f.topic())
	before := goleak.IgnoreCurrent()
	n := newNetwork()
	o := fast(kafka.Options{})
	o.Dial = n.dial
	tr, err := kafka.New("kafka://"+f.seeds, o)
	if err != nil {
		t.Fatal(err)
	}
	src, both := hand.Subscribe(t, tr, group(topic)), hand.Subscribe(t, tr, bus.Subscription{Topics: []string{topic}})
	s, broken := hand.Open(t, tr), hand.Open(t, tr)
	hand.MustSend(t, s, hand.Messages(topic, "k/1")...)
	hand.MustSend(t, broken, hand.Messages(topic, "k/2")...)
	hand.Receive(t, src, 2)
	hand.Receive(t, both, 2)
	n.cut()
	hand.Send(t, broken, hand.Messages(topic, "k/2")...)
	n.restore()
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	leaks.None(t, before, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
		goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).write"), goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*group).manage"))
}

// Structured mode is read, and so are records of programs that know nothing of CloudEvents' keys.
func TestReadsOthers(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, tr, f.topic())
	raw := f.raw(t)
	structured := `{"specversion":"1.0","id":"1","source":"/others","type":"orders.placed","datacontenttype":"application/json","data":{"order_id":"ü1"}}`
	for _, r := range []*kgo.Record{
		{Key: []byte("o-1"), Value: []byte(structured), Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=utf-8")}}},
		{Key: []byte("o-2"), Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: []byte("2")}, {Key: "ce_source", Value: []byte("/others")},
			{Key: "ce_type", Value: []byte("t")}, {Key: "tenant", Value: []byte("acme")}, {Key: "content-type", Value: []byte("text/plain")}}},
	} {
		r.Topic = topic
		if err := raw.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	byID := map[string]*sixfold.Envelope{}
	for _, d := range hand.Receive(t, hand.Subscribe(t, tr, group(topic)), 2) {
		if d.Damaged != nil {
			t.Fatal(d.Damaged)
		}
		byID[d.ID] = &d.Envelope
	}
	if e := byID["1"]; e == nil || e.Key != "o-1" || string(e.Body) != `{"order_id":"ü1"}` || e.ContentType != "application/json" {
		t.Errorf("structured: %v", e)
	}
	if e := byID["2"]; e == nil || e.Key != "o-2" || string(e.Body) != "x" || e.Headers["tenant"] != "acme" {
		t.Errorf("binary: %v", e)
	}
}
