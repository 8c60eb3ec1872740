package outbox_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// Where the transport keeps no prefixes, one of a key is unconfirmed at a time, and other keys go on. guarantees: R4
func TestRelayOneByOneForLooseTransports(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Loose = true
		r.broker.Hold(func(o bus.Outgoing) bool { return o.Key == "k" })
		for i := range 3 {
			r.put("k", fmt.Sprint("k", i))
			r.put("", fmt.Sprint(i))
			r.put("o", fmt.Sprint("o", i))
		}
		x := r.start()
		time.Sleep(time.Second)
		r.wantBodies("before a confirm", "k0", "0", "o0", "1", "2")
		r.put("p", "p0")
		time.Sleep(time.Second)
		r.wantBodies("before a confirm", "k0", "0", "o0", "1", "2", "p0")
		r.broker.Release()
		time.Sleep(time.Second)
		r.wantBodies("after one", "k0", "0", "o0", "1", "2", "p0", "k1", "o1")
		x.end() // what waits behind k1 and o1 stays where it is
		time.Sleep(time.Second)
		r.broker.Release()
		if err := <-x.done; err != nil {
			t.Error(err)
		}
		r.wantBodies("after the stop", "k0", "0", "o0", "1", "2", "p0", "k1", "o1")
		r.wantLeft("after the stop", 7, 9)
	})
}

// A late row that waits behind one that is then refused comes first all the same. guarantees: R3, R6
func TestRelayLooseLateRowBehindARefusedOne(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Loose = true
		r.opts.Sweep = time.Hour
		again := r.broker.Stall()
		r.refuse(bus.ErrRefused, "2")
		late := r.db.Begin()
		if _, _, err := r.db.Writer().Append(t.Context(), late.Tx(), outbox.ToBroker, []outbox.Row{row("", "t", "k", "1")}, false); err != nil {
			t.Fatal(err)
		}
		r.put("k", "2")
		x := r.start()
		time.Sleep(time.Second) // 2 is in flight
		again()
		slow := r.broker.Stall()
		if err := late.Commit(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		slow()
		time.Sleep(10 * time.Second)
		r.wantBodies("while 2 is refused", "1")
		r.refuse(nil)
		time.Sleep(2 * time.Minute)
		r.wantBodies("afterwards", "1", "2")
		x.mustStop()
	})
}

// stormy answers like a broker on a bad day, from a seed.
type stormy struct {
	mu  sync.Mutex
	rnd *rand.Rand
}

func (s *stormy) judge(bus.Outgoing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n := s.rnd.IntN(100); {
	case n < 10:
		return bus.ErrUnavailable
	case n < 15:
		return bus.ErrRefused
	case n < 20:
		return bus.ErrUnroutable
	}
	return nil
}

// Whatever fails when, first arrivals of a key are in order, and nothing is lost. guarantees: R1, R4, K1
func TestRelayStormKeepsOrder(t *testing.T) {
	for _, loose := range []bool{false, true} {
		for seed := range uint64(15) {
			t.Run(fmt.Sprintf("loose %v, seed %d", loose, seed), func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) { storm(t, r, loose, seed) })
			})
		}
	}
}

func storm(t *testing.T, r *rig, loose bool, seed uint64) {
	r.broker.Loose = loose
	r.opts.Batch, r.opts.MaxInFlight, r.opts.Sweep = 7, 20, 10*time.Second
	s := &stormy{rnd: rand.New(rand.NewPCG(seed, 1))}
	r.broker.Judge(s.judge)
	held := rand.New(rand.NewPCG(seed, 2))
	r.broker.Hold(func(bus.Outgoing) bool { return held.IntN(4) == 0 })
	rnd := rand.New(rand.NewPCG(seed, 3))
	x := r.start()
	want := map[string][]string{}
	for i := range 200 {
		key := fmt.Sprint(rnd.IntN(5))
		tx := r.db.Begin()
		if _, _, err := r.db.Writer().Append(t.Context(), tx.Tx(), outbox.ToBroker, []outbox.Row{row("", "t", key, fmt.Sprint(i))}, false); err != nil {
			t.Fatal(err)
		}
		if rnd.IntN(5) == 0 {
			defer func() { _ = tx.Rollback() }()
			continue // open until the end
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		want[key] = append(want[key], fmt.Sprint(i))
		if rnd.IntN(3) == 0 {
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		}
		switch rnd.IntN(30) {
		case 0:
			r.broker.Cut(bus.ErrUnavailable)
			time.Sleep(time.Duration(rnd.IntN(1000)) * time.Millisecond)
			r.broker.Restore()
		case 1, 2, 3, 4:
			r.broker.Release()
		case 5:
			x.end()
			r.broker.Release()
			<-x.done
			x = r.start()
		}
	}
	r.broker.Judge(nil)
	r.broker.Hold(nil)
	r.broker.Release()
	time.Sleep(5 * time.Minute)
	r.wantLeft("at the end")
	x.mustStop()
	first := map[string][]string{}
	for _, taken := range r.broker.Taken() {
		if body := string(taken.Body); !slices.Contains(first[taken.Key], body) {
			first[taken.Key] = append(first[taken.Key], body)
		}
	}
	for key, w := range want {
		if !slices.Equal(first[key], w) {
			t.Errorf("key %s arrived as %v, want %v", key, first[key], w)
		}
	}
}
