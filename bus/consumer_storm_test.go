package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// ledger is what became of messages, by key; n-th message of a key has the number n.
type ledger struct {
	mu   sync.Mutex
	seen map[string]int // ends of each id
	next map[string]int // by key
	bad  []string
	once bool // no end may come twice
}

// begin notes that a handler begins, end that its message came to an end.
func (l *ledger) begin(env *sixfold.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n, _ := strconv.Atoi(env.Subject); env.Key != "" && n > l.next[env.Key] {
		l.bad = append(l.bad, fmt.Sprintf("key %s: %d runs before the end of %d", env.Key, n, l.next[env.Key]))
	}
}

func (l *ledger) end(env *sixfold.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[env.ID]++
	if l.once && l.seen[env.ID] > 1 {
		l.bad = append(l.bad, fmt.Sprintf("key %s: %s ended %d times", env.Key, env.Subject, l.seen[env.ID]))
	}
	if n, _ := strconv.Atoi(env.Subject); n == l.next[env.Key] {
		l.next[env.Key]++
	}
}

// Consumers come and go while handlers fail in every way: every message ends once, in the order of its key. With
// deliveries taken away in addition, it may end twice, and the first ends keep their order.
// guarantees: K2, R2, I8, I9
func TestStorm(t *testing.T) {
	for seed := range uint64(6) {
		for _, revoke := range []bool{false, true} {
			t.Run(fmt.Sprint("seed=", seed, "/revoke=", revoke), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { storm(t, rand.New(rand.NewPCG(seed, 7)), revoke) })
			})
		}
	}
}

func storm(t *testing.T, rnd *rand.Rand, revoke bool) {
	const keys, each = 12, 60
	ctx := context.Background()
	broker := memory.New(&memory.Options{Topics: []string{"orders", "orders.dead"}})
	sources := &tapped{Transport: broker}
	book := &ledger{seen: map[string]int{}, next: map[string]int{}, once: !revoke}
	var mu sync.Mutex
	chance := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rnd.IntN(n)
	}
	broker.Tap(func(topic string, env *sixfold.Envelope) {
		if topic == "orders.dead" {
			book.end(env)
		}
	})
	handle := func(ctx context.Context, env *sixfold.Envelope) error {
		book.begin(env)
		if chance(3) == 0 {
			time.Sleep(time.Duration(chance(1000)) * time.Millisecond)
		}
		switch chance(12) {
		case 0:
			return errors.New("fails")
		case 1:
			panic("panics")
		case 2:
			return fmt.Errorf("away: %w", bus.ErrUnavailable)
		case 3:
			if chance(4) == 0 {
				return sixfold.Permanent(errors.New("never"))
			}
			return sixfold.RetryAfter(time.Second, errors.New("later"))
		}
		if ds := bus.DeliveriesFrom(ctx); ds[0].Owned != nil && ds[0].Owned.Err() != nil {
			return ctx.Err() // as a transaction that claims would find out
		}
		book.end(env)
		return nil
	}
	batch := func(ctx context.Context, envs []*sixfold.Envelope) error {
		if chance(3) == 0 {
			return errors.New("batch fails")
		}
		for _, env := range envs {
			book.begin(env)
			if ds := bus.DeliveriesFrom(ctx); ds[0].Owned != nil && ds[0].Owned.Err() != nil {
				return ctx.Err()
			}
			book.end(env)
		}
		return nil
	}
	run := func() (stop func() error) {
		b := &box{attempts: map[string]int{}}
		r := sixfold.Raw(handle).Limit(3 * chance(2))
		if chance(2) == 0 {
			r.Batch, r.BatchSize = batch, 5
		}
		c, err := bus.NewConsumer(sources, bus.Subscription{Topics: []string{"orders"}, Group: "g", Ordered: true, MaxInFlight: 100},
			&bus.Options{Inbox: b, Concurrency: 4, Retry: sixfold.Retry{MaxAttempts: 4}, Logger: quiet(), DrainTimeout: 30 * time.Second}, r)
		if err != nil {
			t.Fatal(err)
		}
		return start(t, c)
	}
	stops := []func() error{run(), run()}
	synctest.Wait() // both have a source that can be revoked
	p, err := bus.NewPublisher(broker, nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range each {
		var envs []*sixfold.Envelope
		for k := range keys {
			env := envelope(strconv.Itoa(n), strconv.Itoa(k))
			if k == 0 {
				env.Key = ""
			}
			envs = append(envs, env)
		}
		if err := p.PublishEnvelopes(ctx, "orders", envs); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(chance(300)) * time.Millisecond)
		switch i := chance(2); {
		case chance(8) == 0:
			if err := stops[i](); err != nil {
				t.Errorf("stop: %v", err)
			}
			stops[i] = run()
		case revoke && chance(8) == 0:
			sources.revoke(t, i)
		}
	}
	for range 100 { // stops give back what waits, and attempts begin anew; in the end everything ends
		pass(time.Minute)
		book.mu.Lock()
		done := len(book.seen) == keys*each
		book.mu.Unlock()
		if done {
			break
		}
	}
	for _, stop := range stops {
		if err := stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
	p.Close(ctx)
	broker.Close(ctx)
	for _, bad := range book.bad {
		t.Error(bad)
	}
	if n := len(book.seen); n != keys*each {
		t.Errorf("%d of %d messages came to an end", n, keys*each)
	}
}

// tapped remembers the open sources.
type tapped struct {
	*memory.Transport
	mu   sync.Mutex
	open []bus.Source
}

func (x *tapped) Subscribe(ctx context.Context, s bus.Subscription) (bus.Source, error) {
	src, err := x.Transport.Subscribe(ctx, s)
	x.mu.Lock()
	defer x.mu.Unlock()
	if err == nil { // it was not stopped meanwhile
		x.open = append(x.open, src)
	}
	return src, err
}

func (x *tapped) revoke(t *testing.T, i int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.Revoke(x.open[len(x.open)-1-i]); err != nil {
		t.Error(err)
	}
}

// [TwoConsumersBothRun] guarantees: I1
func TestTwoConsumersBothRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		broker := memory.New(&memory.Options{Topics: []string{"orders", "bills"}})
		var got [3]trace
		var stops []func() error
		for i, group := range []string{"shipping", "billing", ""} {
			c, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders", "bills"}, Group: group}, &bus.Options{Logger: quiet(), Concurrency: 1},
				sixfold.On(func(ctx context.Context, m placed) error {
					info := sixfold.InfoFrom(ctx)
					got[i].add(info.Topic + info.Consumer)
					return nil
				}))
			if err != nil {
				t.Fatal(err)
			}
			stops = append(stops, start(t, c))
		}
		synctest.Wait()
		p, err := bus.NewPublisher(broker, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range []string{"orders", "bills"} {
			if _, err := p.Publish(ctx, topic, placed{1}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		got[0].want(t, "ordersshipping billsshipping")
		got[1].want(t, "ordersbilling billsbilling")
		got[2].want(t, "orders bills")
		for _, stop := range stops {
			if err := stop(); err != nil {
				t.Error(err)
			}
		}
		p.Close(ctx)
	})
}
