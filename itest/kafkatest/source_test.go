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
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// committed waits until the group's offset of a partition is that, and says what it is otherwise.
func (f *fixture) committed(tb testing.TB, topic string, partition int32, want int64) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
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
	tr, _ := f.connect(t, fast(kafka.Options{Partitions: 1}))
	topic := declare(t, tr, f.topic())
	src := subscribe(t, tr, group(topic))
	mustSend(t, open(t, tr), messages(topic, "a/0", "b/1", "c/2", "d/3")...)
	ds := receive(t, src, 4)
	settle(t, src, ds[1], ds[3])
	f.committed(t, topic, 0, 0)
	settle(t, src, ds[0])
	f.committed(t, topic, 0, 2)
	settle(t, src, ds[2])
	f.committed(t, topic, 0, 4)
}

// A partition that goes to another member is drained first: what was handed out is settled there, and nobody gets it twice.
// guarantees: R2, K2
func TestRevocationDrains(t *testing.T) {
	for name, o := range map[string]kafka.Options{"classic": {}, "KIP-848": {ServerSide: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			a, _ := f.connect(t, fast(o))
			b, _ := f.connect(t, fast(o))
			topic := declare(t, a, f.topic())
			one := subscribe(t, a, group(topic))
			var texts []string
			for i := range 40 {
				texts = append(texts, fmt.Sprintf("k%d/%d", i, i))
			}
			mustSend(t, open(t, a), messages(topic, texts...)...)
			ds := receive(t, one, 40)
			two := subscribe(t, b, group(topic))
			got := make(chan []*bus.Delivery, 1)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			go func() {
				ds, _ := two.Receive(ctx, 100)
				got <- ds
			}()
			select {
			case ds := <-got:
				t.Fatalf("another member got %v while the first had them", bodies(ds))
			case <-time.After(1500 * time.Millisecond): // a rebalance takes less
			}
			for _, d := range ds {
				if d.Owned.Err() != nil {
					t.Fatal("a delivery ended before its drain limit")
				}
			}
			settle(t, one, ds...)
			// The other has partitions now, and only what is new.
			s := open(t, a)
			var all []*bus.Delivery
			for round := 0; ; round++ {
				mustSend(t, s, messages(topic, fmt.Sprintf("k%d/new", round))...)
				select {
				case all = <-got:
				case <-time.After(50 * time.Millisecond):
					continue
				}
				break
			}
			for _, d := range all {
				if find(ds, string(d.Body)) != nil {
					t.Errorf("%s came to both", d.Body)
				}
			}
		})
	}
}

// What a drain does not end in time is taken away: contexts end, and the next member gets it.
func TestDrainIsBounded(t *testing.T) {
	f := newFake(t)
	o := kafka.Options{Partitions: 2, DrainTimeout: 300 * time.Millisecond}
	a, _ := f.connect(t, fast(o))
	b, _ := f.connect(t, fast(o))
	topic := declare(t, a, f.topic())
	one := subscribe(t, a, group(topic))
	mustSend(t, open(t, a), messages(topic, "a/1", "b/2", "c/3", "d/4", "e/5", "f/6")...)
	ds := receive(t, one, 6)
	again := receive(t, subscribe(t, b, group(topic)), 1)
	for _, d := range again {
		first := find(ds, string(d.Body))
		if first == nil || first.Owned.Err() == nil {
			t.Fatalf("%s went to another member while its context lasts", d.Body)
		}
		if !d.Redelivered {
			t.Errorf("%s says that nobody had it", d.Body)
		}
		if err := trySettle(t, one, false, first)[0]; !errors.Is(err, bus.ErrLost) {
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
	src := subscribe(t, tr, group(topic))
	mustSend(t, open(t, tr), messages(topic, "k/1")...)
	d := receive(t, src, 1)[0]
	cut := time.Now()
	n.cut()
	select {
	case <-d.Owned.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("a member that was cut off goes on")
	}
	if silent := time.Since(cut); silent > 1500*time.Millisecond+200*time.Millisecond {
		t.Errorf("it went on for %v, the session time-out is 1.5 s", silent)
	}
	n.restore()
	again := receive(t, src, 1)[0]
	if again.ID != d.ID || !again.Redelivered {
		t.Errorf("%s came, redelivered %v", again.Body, again.Redelivered)
	}
	settle(t, src, again)
}

// Heartbeats go on however long handlers take, and while nobody receives; and what waited goes on after a rebalance.
// guarantees: K2
func TestSlowHandlersKeepTheirPartitions(t *testing.T) {
	f := newFake(t)
	tr, _ := f.connect(t, fast(kafka.Options{Partitions: 2}))
	topic := declare(t, tr, f.topic())
	sub := group(topic)
	sub.MaxInFlight = 2
	src := subscribe(t, tr, sub)
	var texts []string
	for i := range 300 {
		texts = append(texts, fmt.Sprintf("k%d/%d", i%10, i))
	}
	mustSend(t, open(t, tr), messages(topic, texts...)...)
	ds := receive(t, src, 2)
	<-time.After(4 * time.Second) // more than two session time-outs
	if err := src.Extend(t.Context(), ds); err != nil {
		t.Fatal(err)
	}
	settle(t, src, ds...)
	left := map[string]bool{}
	for _, text := range texts {
		left[text] = true
	}
	for _, d := range ds {
		delete(left, string(d.Body))
	}
	other, _ := f.connect(t, fast(kafka.Options{}))
	two := subscribe(t, other, sub)
	if _, err := f.fake.WaitGroupStable(t.Context(), "shipping", 2); err != nil {
		t.Fatal(err)
	}
	if err := two.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for len(left) > 0 {
		ds := receive(t, src, 1)
		for _, d := range ds {
			delete(left, string(d.Body))
		}
		settle(t, src, ds...)
	}
}

// After a death what may have been in hand is suspect, and nothing that came later.
// guarantees: I8
func TestSuspectsAfterADeath(t *testing.T) {
	f := newFake(t)
	a, n := f.connect(t, fast(kafka.Options{Partitions: 1}))
	b, _ := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, a, f.topic())
	sub := group(topic)
	sub.MaxInFlight = 4
	src := subscribe(t, a, sub)
	mustSend(t, open(t, a), messages(topic, "a/0", "b/1", "c/2", "d/3", "e/4", "f/5")...)
	settle(t, src, receive(t, src, 4)[0])
	f.committed(t, topic, 0, 1)
	n.cut()
	two := subscribe(t, b, group(topic))
	ds := receive(t, two, 5)
	for _, d := range ds[:3] {
		if !d.Redelivered {
			t.Errorf("%s was in hand and is not suspect", d.Body)
		}
	}
	mustSend(t, open(t, b), messages(topic, "g/6", "h/7")...)
	for _, d := range receive(t, two, 2) {
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
	mustSend(t, open(t, a), messages(topic, texts...)...)
	var handled, twice atomic.Int64
	seen := make(map[string]bool)
	for len(seen) < len(texts) {
		tr, _ := f.connect(t, fast(kafka.Options{}))
		src := subscribe(t, tr, group(topic))
		ds := receive(t, src, 1)
		for i, d := range ds {
			if i%3 == 2 {
				continue // in hand, and not begun
			}
			if seen[string(d.Body)] {
				twice.Add(1)
			}
			seen[string(d.Body)] = true
			settle(t, src, d)
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
	src, both := subscribe(t, tr, group(topic)), subscribe(t, tr, bus.Subscription{Topics: []string{topic}})
	s, broken := open(t, tr), open(t, tr)
	mustSend(t, s, messages(topic, "k/1")...)
	mustSend(t, broken, messages(topic, "k/2")...)
	receive(t, src, 2)
	receive(t, both, 2)
	n.cut()
	send(t, broken, messages(topic, "k/2")...)
	n.restore()
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
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
	for _, d := range receive(t, subscribe(t, tr, group(topic)), 2) {
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
