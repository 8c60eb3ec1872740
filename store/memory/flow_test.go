package memory_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store/memory"
	broker "github.com/sixfold-go/sixfold/transport/memory"
)

// counted is a message with its place in the order of its key.
type counted struct {
	Key string
	N   int
}

func (counted) MessageName() string  { return "test.counted" }
func (m counted) MessageKey() string { return m.Key }

// relayed is the same message for the way over the broker.
type relayed struct{ counted }

func (relayed) MessageName() string { return "test.relayed" }

var quietLog = slog.New(slog.NewTextHandler(io.Discard, nil))

// world is a shop with everything in the process: producers, two relays, a local consumer and one of a broker.
type world struct {
	t        *testing.T
	st       *memory.Store
	box      *outbox.Outbox
	seed     uint64
	promised map[string][]string // what was committed, by consumer and key; guarded by the store, like effects
	effects  map[string][]string
	mu       sync.Mutex
	failures map[string]int
}

// effect is the handler: it fails now and then, and once in a while after it did its work.
func (w *world) effect(group string) func(ctx context.Context, tx *memory.Tx, m counted) error {
	return func(_ context.Context, tx *memory.Tx, m counted) error {
		place := fmt.Sprint(group, "/", m.Key, "/", m.N)
		w.mu.Lock()
		w.failures[place]++
		attempt := w.failures[place]
		w.mu.Unlock()
		if err := tx.OnCommit(func() { w.effects[group+" "+m.Key] = append(w.effects[group+" "+m.Key], fmt.Sprint(m.N)) }); err != nil {
			return err
		}
		if m.N%7 == 3 && attempt < 3 {
			return errors.New("not yet")
		}
		return nil
	}
}

// produce commits and rolls back messages of its keys, in transactions that overlap those of others.
func (w *world) produce(ctx context.Context, number int) {
	rnd := rand.New(rand.NewPCG(w.seed, uint64(number)))
	for i := range 40 {
		key := fmt.Sprint("key-", rnd.IntN(5))
		err := w.st.DB().Run(ctx, func(tx *memory.Tx) error {
			if err := tx.Lock(ctx, key); err != nil {
				return err
			}
			n := number*1000 + i
			at := w.box
			for _, m := range []sixfold.Message{counted{key, n}, relayed{counted{key, n}}} {
				if _, err := at.Publish(ctx, sqltx.Native(tx), m); err != nil {
					return err
				}
			}
			time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond) // open, while others commit
			if rnd.IntN(4) == 0 {
				return errBack
			}
			return tx.OnCommit(func() {
				for _, group := range []string{"near", "far"} {
					w.promised[group+" "+key] = append(w.promised[group+" "+key], fmt.Sprint(n))
				}
			})
		})
		if err != nil && !errors.Is(err, errBack) {
			w.t.Error(err)
		}
	}
}

// guarantees: O1, O2, R3, R4, R5, I1, K1, K2
func TestEverythingOnceAndInOrder(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { runWorld(t, seed) }) })
	}
}

func runWorld(t *testing.T, seed uint64) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, st: memory.New(nil), seed: seed, promised: map[string][]string{}, effects: map[string][]string{}, failures: map[string]int{}}
	var err error
	w.box, err = outbox.New(w.st.Outbox(), nil, outbox.ToConsumer("near", counted{}), outbox.To("far-away", relayed{}))
	must(err)
	between := broker.New(&broker.Options{Topics: []string{"far-away"}})
	box, err := inbox.New(w.st.DB(), w.st.Inbox(), nil)
	must(err)
	local, err := outbox.NewLocal(w.st.Outbox(), w.st.DB(), &outbox.LocalOptions{Logger: quietLog})
	must(err)
	near, err := bus.NewConsumer(local, bus.Subscription{Group: "near", Ordered: true}, &bus.Options{Logger: quietLog}, inbox.On(box, w.effect("near")))
	must(err)
	over := w.effect("far")
	far, err := bus.NewConsumer(between, bus.Subscription{Topics: []string{"far-away"}, Group: "far", Ordered: true}, &bus.Options{Logger: quietLog},
		inbox.On(box, func(ctx context.Context, tx *memory.Tx, m relayed) error { return over(ctx, tx, m.counted) }))
	must(err)
	runs := []sixfold.Runnable{near, far}
	for range 2 {
		relay, err := outbox.NewRelay(w.st.Outbox(), between, &outbox.RelayOptions{Logger: quietLog})
		must(err)
		runs = append(runs, relay)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(ctx, runs...) }()
	var producers sync.WaitGroup
	for number := range 6 {
		producers.Go(func() { w.produce(ctx, number) })
	}
	producers.Wait()
	time.Sleep(10 * time.Minute) // of the bubble: retries come to their end
	stop()
	must(<-ran)

	for of, want := range w.promised {
		if got := w.effects[of]; !slices.Equal(got, want) {
			t.Errorf("%s: effects\n%s\nof messages\n%s", of, strings.Join(got, " "), strings.Join(want, " "))
		}
	}
	if len(w.promised) == 0 || len(w.effects) != len(w.promised) {
		t.Errorf("%d keys had effects, %d were promised", len(w.effects), len(w.promised))
	}
	for _, table := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		if st, err := w.st.Outbox().Keeper().Stats(t.Context(), table); err != nil || st.Pending != 0 {
			t.Errorf("%v: %d rows are left, %v", table, st.Pending, err)
		}
	}
}
