package outbox_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// A planned stop waits for what is in flight, settles it, and sends nothing twice. guarantees: R2 [StopBurnsNothing]
func TestRelayStopDrains(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.Batch = 5
		r.broker.Hold(func(bus.Outgoing) bool { return true })
		for i := range 12 {
			r.put("k", fmt.Sprint(i))
		}
		x := r.start()
		time.Sleep(time.Second)
		x.end()
		r.put("k", "too late")
		time.Sleep(9 * time.Second) // longer than no lease, shorter than the drain limit
		if n := len(r.db.Nodes("")); n != 1 {
			t.Errorf("%d nodes live while it drains", n)
		}
		r.broker.Release()
		if err := <-x.done; err != nil {
			t.Error(err)
		}
		r.wantLeft("after the stop", 13)
		r.broker.Hold(nil)
		y := r.start()
		time.Sleep(time.Second)
		y.mustStop()
		if n := len(r.broker.Taken()); n != 13 {
			t.Errorf("the broker took %d envelopes, want 13", n)
		}
	})
}

// inDoubt expects a DrainError, and the time that it took: the drain limit, or none after an outage.
func (x *running) inDoubt(n int, after time.Duration) {
	x.t.Helper()
	start := time.Now()
	err := x.stop()
	var d *sixfold.DrainError
	if late := after > 0; !errors.As(err, &d) || !errors.Is(err, sixfold.ErrDrainTimeout) || (d.Cause == nil) != late || errors.Is(err, bus.ErrUnavailable) == late || d.InDoubt != n {
		x.t.Errorf("%v, want %d in doubt", err, n)
	}
	if took := time.Since(start); took != after {
		x.t.Errorf("it took %v, want %v", took, after)
	}
}

// guarantees: R2
func TestRelayStopSaysWhatIsInDoubt(t *testing.T) {
	const limit = 3 * time.Second
	for name, c := range map[string]struct {
		before func(r *rig)
		doubt  int
		after  time.Duration
	}{
		"no confirm at all":   {func(r *rig) { r.broker.Hold(func(bus.Outgoing) bool { return true }) }, 4, limit},
		"one confirm missing": {func(r *rig) { r.broker.Hold(func(o bus.Outgoing) bool { return string(o.Body) == "2" }) }, 4, limit}, // they are one batch
		"the database is away": {func(r *rig) {
			r.db.Fail(func(op string) error {
				if op == "settle" {
					return outbox.ErrFakeCut
				}
				return nil
			}, nil)
		}, 4, limit},
		"the broker takes nothing in": {func(r *rig) { r.broker.Stall() }, 4, limit},
		"an outage took the confirms": {func(r *rig) {
			r.broker.Hold(func(bus.Outgoing) bool { return true })
			go func() {
				time.Sleep(500 * time.Millisecond)
				r.broker.Cut(bus.ErrUnavailable)
			}()
		}, 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				r.opts.DrainTimeout = limit
				c.before(r)
				for i := range 4 {
					r.put("k", fmt.Sprint(i))
				}
				x := r.start()
				time.Sleep(time.Second)
				x.inDoubt(c.doubt, c.after)
				if n := len(r.db.Nodes("")); n != 0 {
					t.Errorf("%d nodes live after the stop", n)
				}
			})
		})
	}
}

// Who is taken over while it stops says so, and not that it had too little time. guarantees: R2, R5
func TestRelayTakenOverWhileItStops(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Hold(func(bus.Outgoing) bool { return true })
		for i := range 3 {
			r.put("k", fmt.Sprint(i))
		}
		x := r.start()
		time.Sleep(time.Second)
		start := time.Now()
		x.end()
		r.takeAllOver(t)
		r.broker.Release()
		err := <-x.done
		var d *sixfold.DrainError
		if !errors.Is(err, outbox.ErrFenced) || !errors.Is(err, sixfold.ErrDrainTimeout) || !errors.As(err, &d) || d.InDoubt != 3 {
			t.Errorf("%v, want 3 in doubt since another took over", err)
		}
		if took := time.Since(start); took >= r.opts.DrainTimeout && r.opts.DrainTimeout > 0 || took >= 10*time.Second {
			t.Errorf("it took %v, want less than the drain limit", took)
		}
	})
}

// What an outage left in doubt is not in doubt any more when it was sent again and confirmed. guarantees: R2
func TestRelayStopAfterAnOutageIsCertain(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Hold(func(bus.Outgoing) bool { return true })
		r.put("k", "1")
		x := r.start()
		time.Sleep(time.Second)
		r.broker.Hold(nil)
		r.broker.Cut(bus.ErrUnavailable)
		r.broker.Restore()
		time.Sleep(10 * time.Second)
		x.mustStop()
		r.wantLeft("afterwards")
	})
}

// A dead letter that cannot be parked keeps nobody from stopping, and nothing is in doubt. guarantees: R2
func TestRelayStopDuringADeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.OnPoison = outbox.DeadLetter
		r.opts.DrainTimeout = time.Second
		r.refuse(bus.ErrRefused, "bad")
		r.db.Fail(func(op string) error {
			if op == "bury" {
				return outbox.ErrFakeCut
			}
			return nil
		}, nil)
		r.put("k", "bad")
		x := r.start()
		time.Sleep(10 * time.Second)
		x.mustStop()
		r.wantLeft("afterwards", 1)
	})
}

// What else failed is said beside what is in doubt. guarantees: R2
func TestRelayRefusedCredentialsAreSaidBesideWhatIsInDoubt(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Hold(func(bus.Outgoing) bool { return true })
		r.put("k", "1")
		x := r.start()
		time.Sleep(time.Second)
		r.broker.Cut(bus.ErrRefused)
		err := <-x.done
		var d *sixfold.DrainError
		if !errors.As(err, &d) || !errors.Is(err, bus.ErrRefused) {
			t.Error(err)
		}
	})
}

// A broker's outage costs no attempts and makes no dead letters, however long; the relay tries again, not too often, and
// begins where it was. guarantees: R7 [OutageDeadLettersNothing]
func TestRelayOutage(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.OnPoison = outbox.DeadLetter
		failed := 0
		r.opts.Hooks.Failed = func(_ string, row *outbox.FailedRow, _ error) {
			failed++
			if row != nil {
				t.Errorf("row %d failed", row.Seq)
			}
		}
		x := r.start()
		r.put("k", "0")
		time.Sleep(time.Second)
		r.broker.Judge(func(bus.Outgoing) error { return bus.ErrUnavailable }) // reachable, and takes nothing
		for i := range 10 {
			r.put("k", fmt.Sprint(i+1))
		}
		time.Sleep(30 * time.Minute)
		r.wantBodies("during the outage", "0")
		if h := x.Health().Classes[0]; h.Down == nil || len(h.Blocked) != 0 {
			t.Errorf("%+v", h)
		}
		if opens, _ := r.broker.Counts(); opens > 30*60 {
			t.Errorf("%d senders in half an hour", opens)
		}
		r.broker.Judge(nil)
		time.Sleep(10 * time.Second)
		r.wantBodies("after the outage", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
		x.mustStop()
		if failed == 0 {
			t.Error("no hook heard of it")
		}
	})
}

// The database's outage ends nothing either.
func TestRelayDatabaseOutage(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start()
		r.put("k", "1")
		time.Sleep(time.Second)
		r.db.Fail(func(op string) error { return outbox.ErrFakeCut }, nil)
		r.db.Put(outbox.ToBroker, row("", "t", "k", "2"))
		time.Sleep(10 * time.Minute)
		r.wantBodies("during the outage", "1")
		r.db.Fail(nil, nil)
		time.Sleep(20 * time.Second)
		r.wantBodies("afterwards", "1", "2")
		r.wantLeft("afterwards")
		x.mustStop()
	})
}

// A stop in the middle of an outage does not wait for its end.
func TestRelayStopsDuringAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Cut(bus.ErrUnavailable)
		r.put("k", "1")
		x := r.start()
		time.Sleep(time.Minute)
		start := time.Now()
		x.mustStop()
		if took := time.Since(start); took > 0 {
			t.Errorf("it took %v", took)
		}
		synctest.Wait()
	})
}
