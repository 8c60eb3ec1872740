package bus_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// A failed message is parked with its key: what follows waits behind it, other keys flow, the broker's messages are
// acknowledged. guarantees: K2, I8
func TestParkedKeyKeepsItsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		var got trace
		fails := 2
		c := f.consumer(t, &bus.Options{Inbox: l, Concurrency: 4, Retry: sixfold.Retry{Backoff: func(n int) time.Duration { return time.Duration(n) * time.Hour }}},
			raw(func(ctx context.Context, env *sixfold.Envelope) error {
				got.add(fmt.Sprint(env.ID, "/", sixfold.InfoFrom(ctx).Attempt))
				if env.ID == "a1" && fails > 0 {
					fails--
					return errors.New("not yet")
				}
				return nil
			}))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"), msg("b1", "b"), msg("a3", "a"))
		pass(time.Second)
		f.wantAcked(t, "a1 a2 a3 b1")
		if w := l.waits("a"); w != "a1 a2 a3" {
			t.Errorf("parked %q", w)
		}
		f.deliver(msg("a4", "a"))
		pass(90 * time.Minute)
		f.deliver(msg("a5", "a"))
		pass(24 * time.Hour)
		if s := got.String(); s != "a1/1 b1/1 a1/2 a1/3 a2/1 a3/1 a4/1 a5/1" && s != "b1/1 a1/1 a1/2 a1/3 a2/1 a3/1 a4/1 a5/1" {
			t.Errorf("handled %s", s)
		}
		f.wantAcked(t, "a1 a2 a3 a4 a5 b1")
		if w := l.waits("a"); w != "" || len(f.sent()) != 0 {
			t.Errorf("parked %q, sent %v", w, f.sent())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What waits for a place in a full line does not keep the line from being worked off: handlers, and what no handler may see.
// guarantees: I8, K2
func TestFullLineIsWorkedOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		l.most = 2
		var got trace
		fails := 1
		c := f.consumer(t, &bus.Options{Inbox: l, Concurrency: 1, Retry: sixfold.Retry{AfterDead: sixfold.GoOn, Backoff: func(int) time.Duration { return time.Hour }}},
			raw(func(_ context.Context, env *sixfold.Envelope) error {
				got.add(env.ID)
				if env.ID == "a1" && fails > 0 {
					fails--
					return errors.New("not yet")
				}
				return nil
			}))
		stop := start(t, c)
		foreign := msg("a4", "a")
		foreign.Type = "foreign"
		f.deliver(msg("a1", "a"), msg("a2", "a"), msg("a3", "a"), foreign, msg("b1", "b"))
		pass(30 * time.Minute)
		if w := l.waits("a"); w != "a1 a2" {
			t.Errorf("parked %q", w)
		}
		f.wantAcked(t, "a1 a2 b1")
		pass(time.Hour)
		if s := got.String(); s != "a1 b1 a1 a2 a3" {
			t.Errorf("handled %s", s)
		}
		f.wantAcked(t, "a1 a2 a3 a4 b1")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// guarantees: I8, I10
func TestDeadLettersHoldTheirKeyOrGoOn(t *testing.T) {
	for _, after := range []sixfold.AfterDead{0, sixfold.HoldKey, sixfold.GoOn} {
		synctest.Test(t, func(t *testing.T) {
			f, l := newFake(), newLot()
			var got, hooks trace
			c := f.consumer(t, &bus.Options{Inbox: l, Concurrency: 1, Retry: sixfold.Retry{MaxAttempts: 2, AfterDead: after, MaxBackoff: time.Second}, Hooks: bus.Hooks{
				Parked: func(d *bus.Delivery, attempts int, _ time.Duration, _ error) {
					hooks.add(fmt.Sprint(d.ID, ":", attempts))
				},
				Dead: func(d *bus.Delivery, reason string, _ error) { hooks.add(d.ID + ":" + reason) },
			}}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
				got.add(env.ID)
				switch env.ID {
				case "a1", "u1":
					return errors.New("never")
				case "b1":
					return sixfold.Permanent(errors.New("no use"))
				}
				return nil
			}))
			stop := start(t, c)
			foreign := msg("c1", "c")
			foreign.Type = "foreign"
			f.deliver(msg("a1", "a"), msg("a2", "a"), msg("b1", "b"), msg("b2", "b"), foreign, msg("c2", "c"), msg("u1", ""))
			pass(time.Minute)
			f.wantAcked(t, "a1 a2 b1 b2 c1 c2 u1")
			want, waits := "a1 b1 c2 u1 a1 u1", "a1 a2|b1 b2"
			if after == sixfold.GoOn {
				want, waits = "a1 b1 b2 c2 u1 a1 a2 u1", "|"
			}
			wantSame(t, "handled", strings.Fields(got.String()), want)
			if w := l.waits("a") + "|" + l.waits("b"); w != waits {
				t.Errorf("parked %q, want %q", w, waits)
			}
			wantSame(t, "hooks", strings.Fields(hooks.String()), "a1:1 b1:permanent c1:no-handler u1:1 a1:attempts u1:attempts")
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

// The policy of an error, else that of the route, else the consumer's; RetryAfter of any length.
func TestRetryPolicyByRouteAndError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		begin := time.Now()
		at := map[string][]time.Duration{}
		h := func(_ context.Context, env *sixfold.Envelope) error {
			at[env.ID] = append(at[env.ID], time.Since(begin).Round(time.Second))
			switch env.ID {
			case "eof":
				return fmt.Errorf("read: %w", io.EOF)
			case "week":
				if len(at[env.ID]) == 1 {
					return sixfold.RetryAfter(7*24*time.Hour, errors.New("closed until Monday"))
				}
				return nil
			}
			return errors.New("bad")
		}
		fixed := func(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }
		c := f.consumer(t, &bus.Options{Inbox: l, Concurrency: 1, ParkingPoll: time.Hour, Retry: sixfold.Retry{MaxAttempts: 3, Backoff: fixed(10 * time.Second),
			Classes: []sixfold.RetryClass{sixfold.ErrorIs(io.EOF, sixfold.Retry{MaxAttempts: 2, Backoff: fixed(time.Minute)})}}},
			raw(h), sixfold.RawNamed("other", h).Retrying(sixfold.Retry{MaxAttempts: 2}))
		stop := start(t, c)
		other := msg("other", "o")
		other.Type = "other"
		f.deliver(msg("eof", "e"), msg("week", "w"), msg("plain", "p"), other)
		pass(8 * 24 * time.Hour)
		if s := fmt.Sprint(at); s != "map[eof:[0s 1m0s] other:[0s 10s] plain:[0s 10s 20s] week:[0s 168h0m0s]]" {
			t.Error(s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What failed because the infrastructure is away is no attempt, parked or not. guarantees: I8
func TestOutageIsNoAttemptOfAParkedMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		begin := time.Now()
		var attempts trace
		c := f.consumer(t, &bus.Options{Inbox: l, Retry: sixfold.Retry{MaxAttempts: 3, MaxBackoff: time.Second}}, raw(func(ctx context.Context, _ *sixfold.Envelope) error {
			switch since := time.Since(begin); {
			case since < time.Millisecond:
				return errors.New("first")
			case since < time.Hour:
				return fmt.Errorf("db: %w", bus.ErrUnavailable)
			}
			attempts.add(fmt.Sprint(sixfold.InfoFrom(ctx).Attempt))
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("a", "a"))
		pass(2 * time.Hour)
		attempts.want(t, "2")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A planned stop gives parked messages back, begun ones handled, and costs none an attempt. guarantees: R2
func TestStopGivesParkedMessagesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		begin := time.Now()
		var got trace
		c := f.consumer(t, &bus.Options{Inbox: l, Concurrency: 2, Retry: sixfold.Retry{Backoff: func(int) time.Duration { return time.Minute }}}, raw(func(_ context.Context, env *sixfold.Envelope) error {
			if time.Since(begin) < time.Second {
				return errors.New("first")
			}
			got.add(env.ID)
			time.Sleep(3 * time.Second)
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"), msg("a3", "a"))
		pass(time.Minute + time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		got.want(t, "a1")
		if w := l.waits("a"); w != "a2 a3" {
			t.Errorf("parked %q", w)
		}
		if ln := l.lines["a"]; ln.held || ln.attempts != 0 {
			t.Errorf("line: %+v", ln)
		}
	})
}

// Lines that are claimed while the consumer stops go back unhandled, at once. guarantees: R2
func TestStopWhileClaiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		l.claimed = make(chan struct{})
		l.lines["a"] = &lotLine{key: "a", ds: []*bus.Delivery{msg("a1", "a"), msg("a2", "a")}, due: time.Now()}
		var got trace
		c := f.consumer(t, &bus.Options{Inbox: l}, raw(func(_ context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			return nil
		}))
		stop := start(t, c)
		synctest.Wait()
		ended := make(chan error, 1)
		begin := time.Now()
		go func() { ended <- stop() }()
		synctest.Wait() // the lanes have ended
		close(l.claimed)
		if err := <-ended; err != nil || time.Since(begin) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		got.want(t, "")
		if ln := l.lines["a"]; ln.held || ln.attempts != 0 || len(ln.ds) != 2 {
			t.Errorf("line: %+v", ln)
		}
	})
}

// Who takes a line over from a process that did not give it back runs its first message alone, and not at all when it was
// begun as often as may be. [CrashOnLastAttempt] guarantees: I8
func TestCrashOnLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		now := time.Now()
		for _, key := range []string{"a", "b", "c"} {
			l.lines[key] = &lotLine{key: key, ds: []*bus.Delivery{msg(key+"1", key), msg(key+"2", key)}, attempts: 2, due: now, held: true}
		}
		l.lines["c"].attempts = 3
		var got trace
		running, done := 0, map[string]bool{}
		c := f.consumer(t, &bus.Options{Inbox: l, Retry: sixfold.Retry{MaxAttempts: 3, AfterDead: sixfold.GoOn}}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			if strings.HasSuffix(env.ID, "1") {
				if running++; running > 1 {
					t.Errorf("%s runs beside another suspect", env.ID)
				}
				l.mu.Lock()
				for key, ln := range l.lines { // counted when its turn has come, and not before
					if want := map[bool]int{true: 3, false: 2}[key == env.Key]; key != "c" && !done[key] && ln.attempts != want {
						t.Errorf("while %s runs: %d attempts at %s1", env.ID, ln.attempts, key)
					}
				}
				done[env.Key] = true
				l.mu.Unlock()
			}
			time.Sleep(time.Second)
			if strings.HasSuffix(env.ID, "1") {
				running--
			}
			got.add(fmt.Sprint(env.ID, "/", sixfold.InfoFrom(ctx).Attempt))
			return nil
		}))
		stop := start(t, c)
		pass(time.Minute)
		if s := " " + got.String() + " "; strings.Contains(s, "c1") || !strings.Contains(s, " a1/3 ") || !strings.Contains(s, " b1/3 ") || !strings.Contains(s, " c2/1 ") {
			t.Errorf("handled %s", s)
		}
		if d := fmt.Sprint(l.dead); d != "[c1:attempts]" {
			t.Errorf("dead %s", d)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A line that is no longer ours ends its handler's context, and nothing that follows in it runs here. guarantees: R5
func TestLostLineStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		l.lines["a"] = &lotLine{key: "a", ds: []*bus.Delivery{msg("a1", "a"), msg("a2", "a")}, due: time.Now()}
		var got trace
		c := f.consumer(t, &bus.Options{Inbox: l, ParkingLease: 3 * time.Second}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			<-ctx.Done()
			return ctx.Err()
		}))
		stop := start(t, c)
		pass(10 * time.Second) // it is kept
		got.want(t, "a1")
		l.steal("a")
		pass(10 * time.Second)
		got.want(t, "a1")
		if len(l.parks) != 0 {
			t.Errorf("parked %v", l.parks)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// While the database is away the message stays at the broker and its key is closed; a line that could not be kept in time
// is given up before others may take it.
func TestParkingWaitsForTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		l.lines["x"] = &lotLine{key: "x", ds: []*bus.Delivery{msg("x1", "x")}, due: time.Now()}
		var got trace
		gaveUp := time.Duration(0)
		begin := time.Now()
		c := f.consumer(t, &bus.Options{Inbox: l, ParkingLease: 3 * time.Second, Retry: sixfold.Retry{MaxAttempts: 2, MaxBackoff: time.Second}}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			if env.ID == "x1" && gaveUp == 0 {
				<-ctx.Done()
				gaveUp = time.Since(begin)
				return ctx.Err()
			}
			got.add(env.ID)
			if env.ID == "a1" && sixfold.InfoFrom(ctx).Attempt == 1 {
				return errors.New("bad")
			}
			return nil
		}))
		stop := start(t, c)
		synctest.Wait()
		l.mu.Lock()
		l.down = errors.New("database is away")
		l.mu.Unlock()
		f.deliver(msg("a1", "a"), msg("a2", "a"))
		pass(20 * time.Second)
		if f.wantAcked(t, ""); gaveUp == 0 || gaveUp > 3*time.Second {
			t.Errorf("gave up after %v", gaveUp)
		}
		if h := c.Health(); h.Stuck != 1 || h.Held != 1 {
			t.Errorf("health: %+v", h)
		}
		l.mu.Lock()
		l.down = nil
		l.mu.Unlock()
		pass(time.Minute)
		f.wantAcked(t, "a1 a2")
		if s := got.String(); s != "a1 x1 a1 a2" && s != "a1 a1 a2 x1" && s != "a1 a1 x1 a2" {
			t.Errorf("handled %s", s)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// With MaxParked messages waiting nothing more is received, and health says so. Paused, nothing that waits runs.
func TestCrowdedAndPausedConsumers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		l.lines["a"] = &lotLine{key: "a", ds: []*bus.Delivery{msg("a1", "a"), msg("a2", "a"), msg("a3", "a")}, blocked: true}
		var got trace
		c := f.consumer(t, &bus.Options{Inbox: l, MaxParked: 3}, raw(func(_ context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			return nil
		}))
		stop := start(t, c)
		pass(10 * time.Second)
		f.deliver(msg("b1", "b"))
		pass(10 * time.Second)
		f.deliver(msg("b2", "b"))
		pass(10 * time.Second)
		h := c.Health()
		if !h.Crowded || h.Parked != 3 || !errors.Is(h.LastError, bus.ErrParkingFull) {
			t.Errorf("health: %+v", h)
		}
		if s := got.String(); strings.Contains(s, "b2") { // b1 was being received when it was noticed
			t.Errorf("handled %s", s)
		}
		c.Pause()
		l.mu.Lock()
		l.lines["a"].blocked = false
		l.mu.Unlock()
		pass(time.Minute)
		if s := got.String(); strings.Contains(s, "a") {
			t.Errorf("handled %s while paused", s)
		}
		c.Resume()
		pass(time.Minute)
		if s := got.String(); !strings.Contains(s, "a1 a2 a3") || !strings.Contains(s, "b1") || !strings.Contains(s, "b2") {
			t.Errorf("handled %s", s)
		}
		if h := c.Health(); h.Crowded || h.Parked != 0 {
			t.Errorf("health: %+v", h)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Long lines come in pieces, in their order.
func TestLongLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, l := newFake(), newLot()
		var want []string
		for _, key := range []string{"a", "b"} {
			ln := &lotLine{key: key, due: time.Now()}
			for i := range 175 {
				ln.ds = append(ln.ds, msg(fmt.Sprint(key, i), key))
				if key == "a" {
					want = append(want, fmt.Sprint(key, i))
				}
			}
			l.lines[key] = ln
		}
		var a, b trace
		c := f.consumer(t, &bus.Options{Inbox: l}, raw(func(_ context.Context, env *sixfold.Envelope) error {
			if env.Key == "a" {
				a.add(env.ID)
			} else {
				b.add(env.ID)
			}
			return nil
		}))
		stop := start(t, c)
		pass(10 * time.Second)
		a.want(t, strings.Join(want, " "))
		b.want(t, strings.ReplaceAll(strings.Join(want, " "), "a", "b"))
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
