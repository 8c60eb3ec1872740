package sqlqueue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/leaks"
	"github.com/sixfold-go/sixfold/outbox"
)

// Whoever sends to a topic waits for a transaction that is sending to it, so that a row which is committed late has no later
// ones before it. guarantees: R3, K1 [LateCommitNotSkipped]
func TestLateCommitIsNotSkipped(t *testing.T) {
	t.Parallel()
	w := newPostgres(t)
	p := w.process(t, w.fast())
	topic, elsewhere := w.topic(), w.topic()
	src, other := hand.Subscribe(t, p, group(topic)), hand.Subscribe(t, p, group(elsewhere))
	slow, err := w.super.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback(context.Background())
	_, err = slow.Exec(t.Context(), `SELECT sixfold.queue_send(ARRAY[$1]::smallint[], '{late}', ARRAY[$2], '{k}', '{1}', '{15}', '{4}', '{"type":"test"}late')`, outbox.PartitionOf("k"), topic)
	if err != nil {
		t.Fatal(err)
	}
	pending := hand.Open(t, p).Send(t.Context(), hand.Messages(topic, "k/after"))
	hand.MustSend(t, hand.Open(t, p), hand.Messages(elsewhere, "k/elsewhere")...) // nobody else waits
	hand.Receive(t, other, 1)
	nothing(t, src)
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pending.Wait(t.Context())...); err != nil {
		t.Fatal(err)
	}
	if got := hand.Bodies(hand.Receive(t, src, 2)); !slices.Equal(got, []string{"late", "k/after"}) {
		t.Errorf("they came as %v", got)
	}
}

// A process that was away for longer than its lease settles nothing of what others have taken over.
// guarantees: R5, K2 [StaleSettleRefused]
func TestFrozenProcessSettlesNothing(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		frozen, next := w.process(t, w.fast()), w.process(t, w.fast())
		topic := w.topic()
		a := hand.Subscribe(t, frozen, group(topic))
		hand.MustSend(t, hand.Open(t, next), numbered(topic, "k", 4)...)
		had := hand.Receive(t, a, 4)
		frozen.line.cutNow()
		b := hand.Subscribe(t, next, group(topic))
		took := hand.Receive(t, b, 4)
		for i, d := range took {
			if d.ID != had[i].ID || !d.Redelivered {
				t.Errorf("number %d came as %q, redelivered: %t", i, d.Body, d.Redelivered)
			}
		}
		frozen.line.restore()
		for _, err := range hand.TrySettle(t, a, false, had...) {
			if !errors.Is(err, bus.ErrLost) {
				t.Errorf("a late settle: %v", err)
			}
		}
		<-had[0].Owned.Done()
		hand.Settle(t, b, took...)
	})
}

// Several processes send and consume while one of them dies, one stops as planned and one comes; of each key the first
// arrivals are in order, nothing is lost, and nothing that was settled comes again. guarantees: R1, R2, R5, K2
func TestProcessesComeAndGo(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		const keys, each = 12, 40
		topic := w.topic()
		keeper := w.process(t, w.fast())
		if err := keeper.Keep(t.Context(), topic, time.Hour); err != nil {
			t.Fatal(err)
		}
		l := &ledger{next: map[string]int{}, enough: make(chan struct{}), want: keys * each}
		members := make([]*member, 3)
		for i := range members {
			members[i] = w.member(t, topic, l)
		}
		var all sync.WaitGroup
		for s := range 2 {
			sender := hand.Open(t, w.process(t, w.fast()))
			all.Go(func() {
				for i := range each {
					for k := range keys / 2 {
						hand.MustSend(t, sender, hand.Messages(topic, fmt.Sprintf("%d-%d/%d", s, k, i))...)
					}
					switch {
					case s == 0 && i == each/4:
						members[0].p.line.cutNow() // dies
					case s == 0 && i == each/2:
						members[1].stop(t) // is stopped
					case s == 0 && i == 3*each/4:
						members[1] = w.member(t, topic, l)
					}
				}
			})
		}
		all.Wait()
		select {
		case <-l.enough:
		case <-time.After(3 * time.Minute):
			t.Error("not all has come within three minutes")
		}
		for _, m := range members[1:] {
			m.stop(t)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.faults) > 0 || l.total != keys*each {
			t.Errorf("%d of %d came; %v", l.total, keys*each, l.faults)
		}
		for _, key := range slices.Sorted(maps.Keys(l.next)) {
			if l.next[key] != each {
				t.Errorf("of key %s %d came", key, l.next[key])
			}
		}
	})
}

// ledger notes what was handled.
type ledger struct {
	mu     sync.Mutex
	next   map[string]int // by key: the number that comes next
	faults []string
	total  int
	want   int
	enough chan struct{}
}

func (l *ledger) handled(d *bus.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, number, _ := strings.Cut(string(d.Body), "/")
	n, _ := strconv.Atoi(number)
	switch next := l.next[key]; {
	case n > next:
		l.faults = append(l.faults, fmt.Sprintf("%s came when %d was next", d.Body, next))
	case n < next && !d.Redelivered:
		l.faults = append(l.faults, fmt.Sprintf("%s came again and says that it did not", d.Body))
	case n == next:
		l.next[key]++
		if l.total++; l.total == l.want {
			close(l.enough)
		}
	}
}

// member is a process that consumes.
type member struct {
	p     *process
	src   bus.Source
	end   context.CancelFunc
	ended chan struct{}
}

func (w *world) member(t *testing.T, topic string, l *ledger) *member {
	t.Helper()
	p := w.process(t, w.fast())
	sub := group(topic)
	sub.MaxInFlight = 20
	m := &member{p: p, src: hand.Subscribe(t, p, sub), ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	settling, giveUp := context.WithCancel(context.Background())
	m.end = cancel
	t.Cleanup(func() { cancel(); giveUp(); <-m.ended })
	go func() {
		defer close(m.ended)
		for {
			ds, err := m.src.Receive(ctx, 10)
			if err != nil {
				return
			}
			for _, d := range ds {
				if d.Owned.Err() != nil {
					continue
				}
				l.handled(d)
				m.src.Settle(settling, []bus.Settlement{{Delivery: d}})
			}
		}
	}()
	return m
}

// stop is a planned one: what is in hand is finished.
func (m *member) stop(t *testing.T) {
	t.Helper()
	m.end()
	<-m.ended
	if err := m.src.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Nothing of a transport runs on after Close.
func TestNothingIsLeftBehind(t *testing.T) {
	w := newSQLite(t)
	hand.Subscribe(t, w.process(t, w.fast()), group("warm")) // what the library starts
	before := goleak.IgnoreCurrent()
	p := w.process(t, w.fast())
	for _, sub := range []bus.Subscription{group("orders"), {Topics: []string{"orders", "parcels"}, Group: "other"}, {Topics: []string{"orders"}}} {
		src := hand.Subscribe(t, p, sub)
		hand.MustSend(t, hand.Open(t, p), hand.Messages("orders", "a/1", "b/2")...)
		hand.Receive(t, src, 2)
	}
	if err := p.Close(t.Context()); err != nil {
		t.Error(err)
	}
	leaks.None(t, before, goleak.IgnoreAnyFunction("database/sql.(*DB).connectionOpener"))
}
