package outbox_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
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
		var topics, bodies []string
		for _, taken := range r.broker.Taken() {
			topics, bodies = append(topics, taken.Topic), append(bodies, string(taken.Body))
			if taken.Topic != "t.dead" {
				continue
			}
			h := taken.Headers
			switch string(taken.Body) {
			case "unreadable":
				if h[bus.DeadReason] != "undecodable" || taken.Type != "sixfold.unreadable" || taken.Key != "u" {
					t.Errorf("%+v %v", taken.Envelope, h)
				}
			default:
				if h[bus.DeadReason] != "unroutable" || !strings.HasPrefix(h[bus.DeadError], "no such ") || h[bus.DeadTopic] != "t" || h[bus.DeadAttempts] != "1" || taken.Key != "k" {
					t.Errorf("%+v %v", taken.Envelope, h)
				}
			}
		}
		if want := []string{"0", "unreadable", "1", "2", "3", "4", "5"}; !slices.Equal(bodies, want) {
			t.Errorf("the broker took %q on %q", bodies, topics)
		}
		if b := x.Blocked(); len(b) != 0 {
			t.Errorf("%+v", b)
		}
		x.mustStop()
	})
}

// While the dead topic does not take it either, the key is blocked, and its reason does not grow. guarantees: R1
func TestRelayDeadTopicRefusesToo(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.OnPoison = outbox.DeadLetter
		r.broker.Judge(func(o bus.Outgoing) error {
			if o.Key == "k" {
				return bus.ErrRefused
			}
			return nil
		})
		r.put("k", "bad")
		x := r.start()
		time.Sleep(time.Hour)
		r.put("other", "fine")
		time.Sleep(time.Second)
		r.wantBodies("meanwhile", "fine")
		b := x.Blocked()
		if len(b) != 1 || b[0].Attempts < 50 || b[0].Reason != "the broker refused; its dead letter: the broker refused" {
			t.Errorf("%+v", b)
		}
		r.broker.Judge(func(o bus.Outgoing) error {
			if !strings.HasSuffix(o.Topic, ".dead") && o.Key == "k" {
				return bus.ErrRefused
			}
			return nil
		})
		time.Sleep(2 * time.Minute)
		r.wantLeft("afterwards")
		x.mustStop()
	})
}

// An outage while a dead letter is sent is none of the row's attempts. guarantees: R7 [OutageDeadLettersNothing]
func TestRelayOutageDuringADeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.OnPoison = outbox.DeadLetter
		var away atomic.Bool
		away.Store(true)
		r.broker.Judge(func(o bus.Outgoing) error {
			switch {
			case !strings.HasSuffix(o.Topic, ".dead"):
				return bus.ErrRefused
			case away.Load():
				return bus.ErrUnavailable
			}
			return nil
		})
		r.put("k", "bad")
		x := r.start()
		time.Sleep(time.Hour)
		if b := x.Blocked(); len(b) != 1 || b[0].Attempts != 1 {
			t.Errorf("%+v", b)
		}
		away.Store(false)
		time.Sleep(10 * time.Second)
		r.wantLeft("afterwards")
		r.wantBodies("afterwards", "bad")
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
