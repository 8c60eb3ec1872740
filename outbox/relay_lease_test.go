package outbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// A relay that was taken over settles nothing, although its broker confirms, and begins again. guarantees: R5 [StaleSettleRefused]
func TestRelayTakenOverSettlesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Hold(func(bus.Outgoing) bool { return true })
		for i := range 3 {
			r.put("k", fmt.Sprint(i))
		}
		x := r.start()
		time.Sleep(time.Second)
		old := r.takeAllOver(t)
		r.broker.Release()
		time.Sleep(10 * time.Second)
		r.wantLeft("while another holds all partitions", 1, 2, 3)
		for _, node := range r.db.Nodes("") {
			if node == old {
				t.Error("the old node lives")
			}
		}
		r.broker.Hold(nil)
		time.Sleep(time.Minute) // the other one dies
		r.wantLeft("afterwards")
		x.mustStop()
		r.wantBodies("afterwards", "0", "1", "2", "0", "1", "2")
	})
}

// takeAllOver has the only node stand still for longer than its lease, and another take all partitions; it answers the old one.
func (r *rig) takeAllOver(t *testing.T) (old string) {
	t.Helper()
	old = r.db.Nodes("")[0]
	r.db.Kill(old)
	if taken, err := r.db.Leases().Take(t.Context(), "", takeOver(t, r.db), 64, outbox.ToBroker, false); err != nil || len(taken) != 64 {
		t.Fatal(len(taken), err)
	}
	return old
}

// takeOver joins as another node.
func takeOver(t *testing.T, db *outbox.FakeDB) string {
	t.Helper()
	const node = "another"
	if err := db.Leases().Join(t.Context(), "", node, 20*time.Second); err != nil {
		t.Fatal(err)
	}
	return node
}

// A relay whose heart cannot beat sends nothing once its lease is nearly over. guarantees: R5
func TestRelaySendsOnlyWhileItsLeaseHolds(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start()
		time.Sleep(time.Second)
		r.db.Fail(func(op string) error {
			if op == "beat" {
				return outbox.ErrFakeCut
			}
			return nil
		}, nil)
		time.Sleep(6 * time.Second) // of a lease of ten, 5/8 are sent in, and 3/4 live
		r.put("k", "1")
		time.Sleep(time.Second)
		time.Sleep(20 * time.Second)
		r.wantBodies("without a heart", []string(nil)...)
		r.db.Fail(nil, nil)
		time.Sleep(10 * time.Second)
		r.wantBodies("with one", "1")
		x.mustStop()
	})
}

// Relays divide the partitions in fair shares; who comes gets some, drained, and who goes leaves them, without a message
// sent twice. guarantees: R2, R5, R7, K1 [ParallelRelayKeepsOrder]
func TestRelaysShare(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		// Confirms take their time, so that something is in flight when partitions change hands.
		r.broker.Hold(func(bus.Outgoing) bool { return true })
		confirm := time.NewTicker(700 * time.Millisecond)
		defer confirm.Stop()
		over := make(chan struct{})
		defer close(over)
		go func() {
			for {
				select {
				case <-confirm.C:
					r.broker.Release()
				case <-over:
					return
				}
			}
		}()
		n := 0
		more := func() {
			for range 10 {
				r.put(fmt.Sprint("k", n%17), fmt.Sprintf("%06d", n))
				n++
			}
		}
		var all []*running
		for range 4 {
			more()
			all = append(all, r.start())
			for range 100 {
				more()
				time.Sleep(200 * time.Millisecond)
			}
			held := r.db.Held("")
			if len(held) != len(all) {
				t.Fatalf("%d relays: %v", len(all), held)
			}
			for node, ps := range held {
				if ps < 64/len(all)-3 || ps > (64+len(all)-1)/len(all) {
					t.Errorf("%d relays: node %s holds %d", len(all), node, ps)
				}
			}
		}
		for _, x := range all[:3] {
			more()
			x.mustStop()
			more()
			time.Sleep(20 * time.Second)
		}
		r.wantLeft("at the end")
		all[3].mustStop()
		last := map[string]string{}
		for _, taken := range r.broker.Taken() {
			if body := string(taken.Body); body <= last[taken.Key] {
				t.Errorf("key %s: %s after %s", taken.Key, body, last[taken.Key])
			}
			last[taken.Key] = string(taken.Body)
		}
		if got := len(r.broker.Taken()); got != n {
			t.Errorf("the broker took %d envelopes of %d", got, n)
		}
	})
}

// A dead relay's partitions are taken over within its lease. guarantees: R7
func TestRelayTakesOverFromTheDead(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		if err := r.db.Leases().Join(t.Context(), "", "dead", 7500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if _, err := r.db.Leases().Take(t.Context(), "", "dead", 64, outbox.ToBroker, false); err != nil {
			t.Fatal(err)
		}
		r.put("k", "1")
		x := r.start()
		start := time.Now()
		for len(r.broker.Taken()) == 0 && time.Since(start) < time.Minute {
			time.Sleep(10 * time.Millisecond)
		}
		if took := time.Since(start); took < 7*time.Second || took > 11*time.Second {
			t.Errorf("it took %v", took)
		}
		x.mustStop()
	})
}

// A take-over or a giving back whose answer is lost leaves no partition to a relay that does not read it. guarantees: R1, R7
func TestRelayRecoversLostAnswersAboutPartitions(t *testing.T) {
	for _, op := range []string{"take", "giveback"} {
		for _, applied := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, applied %v", op, applied), func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) {
					fails := 1
					lose := func(o string) error {
						if o == op && fails > 0 {
							fails--
							return outbox.ErrFakeCut
						}
						return nil
					}
					if applied {
						r.db.Fail(nil, lose)
					} else {
						r.db.Fail(lose, nil)
					}
					x := r.start()
					time.Sleep(20 * time.Second)
					y := r.start()
					time.Sleep(20 * time.Second)
					for i := range 200 {
						r.put(fmt.Sprint(i), fmt.Sprint(i))
					}
					time.Sleep(10 * time.Second)
					r.wantLeft("afterwards")
					if held := r.db.Held(""); len(held) != 2 || fails != 0 {
						t.Errorf("%v, %d", held, fails)
					}
					x.mustStop()
					y.mustStop()
				})
			})
		}
	}
}
