package memory_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

var seed = flag.Uint64("memory.seed", 0, "seed of TestRandomLives; 0: several")

// guarantees: K2, R5. Members of one group come, go, die, are revoked, let leases pass and give back at random, and the
// broker is cut now and then. Of each key what is acknowledged comes in order, exactly once, with nothing left over.
func TestRandomLives(t *testing.T) {
	seeds := []uint64{*seed}
	if *seed == 0 {
		seeds = make([]uint64, 150)
		for i := range seeds {
			seeds[i] = rand.Uint64()
		}
	}
	for _, s := range seeds {
		synctest.Test(t, func(t *testing.T) {
			w := &world{fixture: newFixture(t, &memory.Options{Lease: time.Second, Topics: []string{"orders"}}), rnd: rand.New(rand.NewPCG(s, 0)),
				acked: make(map[string]int), sent: make(map[string]int)}
			for range 400 {
				w.step()
			}
			w.drain()
			if t.Failed() {
				t.Logf("repeat with -memory.seed=%d", s)
			}
		})
		if t.Failed() {
			return
		}
	}
}

// world is a broker, its members, and what they know.
type world struct {
	*fixture
	rnd     *rand.Rand
	members []*member
	stale   []*bus.Delivery // settled or lost
	sent    map[string]int
	acked   map[string]int // highest number of each key
}

type member struct {
	src  bus.Source
	held []*bus.Delivery // in the order of arrival
}

func (w *world) step() {
	switch n := w.rnd.IntN(100); {
	case n < 30:
		w.publish()
	case n < 55:
		w.take()
	case n < 80:
		w.settleSome(false)
	case n < 85:
		w.settleSome(true)
	case n < 90:
		if len(w.members) < 5 {
			w.members = append(w.members, &member{src: w.subscribe(ordersOrdered)})
		}
	case n < 97:
		w.lose()
	case n < 99:
		time.Sleep(time.Duration(w.rnd.IntN(1500)) * time.Millisecond)
		synctest.Wait()
	default:
		w.Cut()
		w.Restore()
		w.open()
	}
}

func (w *world) publish() {
	var batch []string
	for range 1 + w.rnd.IntN(10) {
		key := "k" + strconv.Itoa(w.rnd.IntN(8))
		w.sent[key]++
		batch = append(batch, fmt.Sprintf("%s/%d", key, w.sent[key]))
	}
	w.mustSend("orders", batch...)
}

func (w *world) any() *member {
	if len(w.members) == 0 {
		return nil
	}
	return w.members[w.rnd.IntN(len(w.members))]
}

func (w *world) take() {
	m := w.any()
	if m == nil {
		return
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Microsecond)
	defer cancel()
	ds, _ := m.src.Receive(ctx, 1+w.rnd.IntN(20))
	m.held = append(m.held, ds...)
}

// settleSome does as a consumer does: of each key only what came first, and nothing that it no longer owns.
func (w *world) settleSome(release bool) {
	m := w.any()
	if m == nil {
		return
	}
	w.forgetLost(m)
	cut := len(m.held)
	if cut > 0 {
		cut = w.rnd.IntN(cut + 1)
	}
	if release { // the last ones, not started
		w.release(m.src, m.held[cut:])
		w.stale = append(w.stale, m.held[cut:]...)
		m.held = m.held[:cut]
		return
	}
	for _, d := range m.held[:cut] {
		number, _ := strconv.Atoi(string(d.Body))
		if number != w.acked[d.Key]+1 {
			w.t.Fatalf("%s is acknowledged after %d (redelivered: %v)", d.ID, w.acked[d.Key], d.Redelivered)
		}
		w.acked[d.Key] = number
	}
	w.settle(m.src, m.held[:cut]...)
	w.stale = append(w.stale, m.held[:cut]...)
	m.held = append([]*bus.Delivery(nil), m.held[cut:]...)
	if len(w.stale) > 0 {
		d := w.stale[w.rnd.IntN(len(w.stale))]
		if errs := m.src.Settle(w.t.Context(), settlements(w.rnd.IntN(2) == 0, d)); !errors.Is(errs[0], bus.ErrLost) {
			w.t.Fatalf("settle of the stale %s: %v", d.ID, errs[0])
		}
	}
}

func (w *world) release(src bus.Source, ds []*bus.Delivery) {
	if err := errors.Join(src.Settle(w.t.Context(), settlements(true, ds...))...); err != nil {
		w.t.Fatal(err)
	}
}

// forgetLost drops deliveries whose lane has gone.
func (w *world) forgetLost(m *member) {
	var ours []*bus.Delivery
	for _, d := range m.held {
		if d.Owned.Err() == nil {
			ours = append(ours, d)
		} else {
			w.stale = append(w.stale, d)
		}
	}
	m.held = ours
}

func (w *world) lose() {
	if len(w.members) == 0 {
		return
	}
	i := w.rnd.IntN(len(w.members))
	m := w.members[i]
	if w.rnd.IntN(3) == 0 {
		w.Revoke(m.src)
		w.forgetLost(m)
		return
	}
	if w.rnd.IntN(2) == 0 {
		w.Kill(m.src)
	} else {
		m.src.Close(w.t.Context())
	}
	w.stale = append(w.stale, m.held...)
	w.members = append(w.members[:i], w.members[i+1:]...)
}

// drain lets everybody finish and looks at the sums.
func (w *world) drain() {
	if len(w.members) == 0 {
		w.members = append(w.members, &member{src: w.subscribe(ordersOrdered)})
	}
	for round := 0; w.Pending("orders") > 0 && round < 1000; round++ {
		for _, m := range w.members {
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Microsecond)
			ds, _ := m.src.Receive(ctx, 100)
			cancel()
			m.held = append(m.held, ds...)
			w.forgetLost(m)
			for _, d := range m.held {
				number, _ := strconv.Atoi(string(d.Body))
				if number != w.acked[d.Key]+1 {
					w.t.Fatalf("%s is acknowledged after %d (redelivered: %v)", d.ID, w.acked[d.Key], d.Redelivered)
				}
				w.acked[d.Key] = number
			}
			w.settle(m.src, m.held...)
			m.held = nil
		}
	}
	if n := w.Pending("orders"); n > 0 {
		w.t.Errorf("%d messages are left over", n)
	}
	var wrong []string
	for key, n := range w.sent {
		if w.acked[key] != n {
			wrong = append(wrong, fmt.Sprintf("%s: %d of %d", key, w.acked[key], n))
		}
	}
	if len(wrong) > 0 {
		w.t.Errorf("lost: %s", strings.Join(wrong, ", "))
	}
}
