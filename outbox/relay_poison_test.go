package outbox_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// refuse lets the broker refuse envelopes by their bodies.
func (r *rig) refuse(err error, bodies ...string) {
	r.broker.Judge(func(o bus.Outgoing) error {
		if slices.Contains(bodies, string(o.Body)) && !strings.HasSuffix(o.Topic, ".dead") {
			return err
		}
		return nil
	})
}

// What a broker does not take delays its own key only and costs nobody else an attempt; so do rows that cannot be read,
// also when there are more of them at the head than one read holds.
// guarantees: R6 [BadRowsAtHead] [BadRowCostsNeighboursNothing]
func TestRelayBadRowsDelayTheirOwnKeyOnly(t *testing.T) {
	for _, reason := range []error{bus.ErrRefused, bus.ErrTooLarge, bus.ErrUnroutable, nil} {
		t.Run(fmt.Sprint(reason), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.opts.Batch = 10
				r.refuse(reason, "bad")
				for i := range 50 {
					bad := row("", "t", fmt.Sprintf("bad%d", i), "bad")
					if reason == nil {
						bad.Attrs = []byte(`{"type":`)
					}
					r.putRow(bad)
				}
				var want []string
				for i := range 100 {
					r.put(fmt.Sprintf("k%d", i%7), fmt.Sprint(i))
					want = append(want, fmt.Sprint(i))
				}
				x := r.start()
				time.Sleep(10 * time.Minute)
				got := r.broker.Bodies()
				if !slices.Equal(got, want) {
					t.Errorf("the broker took %q", got)
				}
				blocked := x.Blocked()
				if len(blocked) != 50 {
					t.Fatalf("%d are blocked", len(blocked))
				}
				for i, b := range blocked {
					if b.Seq != int64(i+1) || b.Attempts < 10 || b.Attempts > 20 || b.Since.IsZero() || b.ID == "" || b.Reason == "" {
						t.Fatalf("%+v", b)
					}
				}
				x.mustStop()
				if n := len(r.db.Left(outbox.ToBroker)); n != 50 {
					t.Errorf("%d rows are left", n)
				}
			})
		})
	}
}

// guarantees: R4, R6, K1
func TestRelayKeepsTheOrderOfABlockedKey(t *testing.T) {
	for _, loose := range []bool{false, true} {
		t.Run(fmt.Sprintf("loose %v", loose), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.broker.Loose = loose
				r.refuse(bus.ErrRefused, "3")
				x := r.start()
				for i := range 6 {
					r.put("k", fmt.Sprint(i))
				}
				time.Sleep(10 * time.Second)
				r.wantBodies("before", "0", "1", "2")
				r.put("k", "6")
				time.Sleep(10 * time.Second)
				r.wantBodies("before", "0", "1", "2")
				r.refuse(nil)
				time.Sleep(time.Minute)
				r.wantBodies("after", "0", "1", "2", "3", "4", "5", "6")
				x.mustStop()
				r.wantLeft("after")
			})
		})
	}
}

// Rows of a key that come before the one that cannot be read are sent, also after an outage; nothing of them is lost
// where the transport takes one of a key at a time. guarantees: R1, R6
func TestRelaySendsWhatComesBeforeABadRow(t *testing.T) {
	for _, loose := range []bool{false, true} {
		t.Run(fmt.Sprintf("loose %v", loose), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.broker.Loose = loose
				r.opts.Sweep = time.Hour
				r.broker.Hold(func(bus.Outgoing) bool { return true })
				for i := range 4 {
					r.put("k", fmt.Sprint(i))
				}
				bad := row("", "t", "k", "bad")
				bad.Attrs = []byte("[]")
				r.putRow(bad)
				r.put("k", "behind")
				x := r.start()
				time.Sleep(100 * time.Millisecond)
				r.broker.Hold(nil)
				r.broker.Cut(bus.ErrUnavailable) // takes the confirms along
				r.broker.Restore()
				time.Sleep(10 * time.Second)
				got := r.broker.Bodies()
				if want := []string{"0", "1", "2", "3"}; !slices.Equal(got[len(got)-4:], want) {
					t.Errorf("the broker took %q", got)
				}
				r.wantLeft("afterwards", 5, 6)
				x.mustStop()
			})
		})
	}
}

// A row that is committed late and belongs before a refused one is sent before it. guarantees: R3, R6
func TestRelaySendsALateRowBeforeARefusedOne(t *testing.T) {
	for _, loose := range []bool{false, true} {
		t.Run(fmt.Sprintf("loose %v", loose), func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.broker.Loose = loose
				r.opts.Sweep = time.Hour
				r.refuse(bus.ErrRefused, "2")
				late := r.db.Begin()
				if _, _, err := r.db.Writer().Append(t.Context(), late.Tx(), outbox.ToBroker, []outbox.Row{row("", "t", "k", "1")}, false); err != nil {
					t.Fatal(err)
				}
				r.put("k", "2")
				r.put("k", "3")
				x := r.start()
				time.Sleep(10 * time.Second)
				if err := late.Commit(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				r.wantBodies("while it is refused", "1")
				r.refuse(nil)
				time.Sleep(2 * time.Minute)
				r.wantBodies("afterwards", "1", "2", "3")
				x.mustStop()
			})
		})
	}
}

// guarantees: R1, R6
func TestRelayDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.OnPoison = outbox.DeadLetter
		r.refuse(fmt.Errorf("no\nsuch %w", bus.ErrUnroutable), "1", "4")
		bad := row("", "t", "u", "unreadable")
		bad.Attrs = []byte("?")
		r.putRow(bad)
		for i := range 6 {
			r.put("k", fmt.Sprint(i))
		}
		x := r.start()
		time.Sleep(10 * time.Second)
		r.wantLeft("afterwards")
		r.wantBodies("afterwards", "0", "2", "3", "5")
		var dead []string
		for _, d := range r.db.Buried() {
			dead = append(dead, fmt.Sprintf("%s %s %d %s", d.Type, d.Reason, d.Attempts, d.Error))
			if d.Node == "" || d.ID == "" {
				t.Errorf("%+v", d)
			}
		}
		slices.Sort(dead)
		if len(dead) != 3 || !strings.HasPrefix(dead[0], " undecodable 1 ") || !strings.HasPrefix(dead[1], "test.t unroutable 1 no such ") || !strings.HasPrefix(dead[2], "test.t unroutable 1 no such ") {
			t.Errorf("dead: %q", dead)
		}
		if b := x.Blocked(); len(b) != 0 {
			t.Errorf("%+v", b)
		}
		x.mustStop()
	})
}

// While the database does not take the dead letter, the key waits, and nothing is sent or lost. guarantees: R1, R7
func TestRelayCannotBury(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.OnPoison = outbox.DeadLetter
		r.refuse(bus.ErrRefused, "bad")
		r.db.Fail(func(op string) error {
			if op == "bury" {
				return errors.New("no space")
			}
			return nil
		}, nil)
		r.put("k", "bad")
		r.put("k", "behind")
		x := r.start()
		time.Sleep(time.Hour)
		r.wantBodies("meanwhile")
		r.db.Fail(nil, nil)
		time.Sleep(2 * time.Minute)
		r.wantLeft("afterwards")
		r.wantBodies("afterwards", "behind")
		x.mustStop()
	})
}

// Rows without a key block nothing but themselves. guarantees: R6
func TestRelayRowsWithoutAKeyBlockNobody(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.refuse(bus.ErrRefused, "bad")
		r.put("", "bad")
		r.put("", "1")
		r.put("", "bad")
		r.put("", "2")
		x := r.start()
		time.Sleep(time.Second / 2)
		r.wantBodies("at once", "1", "2")
		r.wantLeft("at once", 1, 3)
		x.mustStop()
	})
}

// A driver that answers fewer results than it should is an outage, not a confirm. guarantees: R1
func TestRelayDoesNotTrustABrokenDriver(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		relay, err := outbox.NewRelay(r.db, shortDriver{r.broker}, &r.opts)
		if err != nil {
			t.Fatal(err)
		}
		r.put("k", "1")
		x := run(t, relay)
		time.Sleep(time.Second)
		r.wantLeft("afterwards", 1)
		if h := x.Health().Classes[0]; h.Down == nil || !strings.Contains(h.Down.Error(), "bustest") {
			t.Errorf("%+v", h)
		}
		var d *sixfold.DrainError
		if err := x.stop(); !errors.As(err, &d) || d.InDoubt != 1 {
			t.Error(err)
		}
	})
}
