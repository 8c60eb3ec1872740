package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// [SettleOnlyAfterConfirm] guarantees: I8, K2
func TestSettleOnlyAfterConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.block = make(chan struct{})
		var got trace
		c := f.consumer(t, nil, raw(func(_ context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			if env.ID == "a1" {
				return sixfold.Permanent(errors.New("no"))
			}
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"))
		pass(time.Hour)
		f.wantAcked(t, "")
		got.want(t, "a1")
		if h := c.Health(); h.InFlight != 2 || h.Held != 1 {
			t.Errorf("health: %+v", h)
		}
		close(f.block)
		pass(time.Second)
		got.want(t, "a1 a2")
		f.wantAcked(t, "a1 a2")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// A dead letter that cannot be sent keeps its message and its key, and nothing else.
// [OutageDeadLettersNothing] guarantees: I8, R1
func TestDeadLetterThatCannotBeSent(t *testing.T) {
	for _, bad := range []error{bus.ErrUnavailable, bus.ErrUnroutable, bus.ErrRefused} {
		t.Run(bad.Error(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				var mu sync.Mutex
				failing := true
				tries := 0
				f.send = func(bus.Outgoing) error {
					mu.Lock()
					defer mu.Unlock()
					tries++
					if failing {
						return bad
					}
					return nil
				}
				var log lockedBuffer
				var got trace
				c := f.consumer(t, &bus.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, raw(func(_ context.Context, env *sixfold.Envelope) error {
					got.add(env.ID)
					if env.ID == "a1" {
						return sixfold.Permanent(errors.New("no"))
					}
					return nil
				}))
				stop := start(t, c)
				f.deliver(msg("a1", "a"), msg("a2", "a"), msg("b1", "b"))
				pass(time.Hour)
				f.wantAcked(t, "b1")
				if h := c.Health(); h.Stuck != 1 || h.Held != 1 || !errors.Is(h.LastError, bad) {
					t.Errorf("health: %+v", h)
				}
				mu.Lock()
				if tries < 100 || tries > 100_000 {
					t.Errorf("%d tries in an hour", tries)
				}
				failing = false
				mu.Unlock()
				if n := strings.Count(log.String(), "cannot send dead letters"); n != 1 {
					t.Errorf("logged %d times:\n%s", n, log.String())
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				f.wantAcked(t, "a1 a2 b1")
				if h := c.Health(); h.Stuck != 0 || h.Held != 0 {
					t.Errorf("health afterwards: %+v", h)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// guarantees: R2
func TestStopWhileADeadLetterIsStuckGivesItBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.send = func(bus.Outgoing) error { return bus.ErrUnroutable }
		c := f.consumer(t, nil, raw(func(_ context.Context, env *sixfold.Envelope) error { return sixfold.Permanent(errors.New("no")) }))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"))
		pass(time.Minute)
		at := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if d := time.Since(at); d > 100*time.Millisecond {
			t.Errorf("the stop took %v", d)
		}
		f.wantAcked(t, "")
		f.wantReleased(t, "a1 a2")
		if got := f.releasedInOrder(); got != "a1 a2" {
			t.Errorf("released %s", got)
		}
	})
}

// guarantees: R2, K2
func TestStopWaitsForADeadLetterOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.block = make(chan struct{})
		c := f.consumer(t, nil, raw(func(_ context.Context, env *sixfold.Envelope) error { return sixfold.Permanent(errors.New("no")) }))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"))
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- stop() }()
		pass(time.Second)
		f.wantReleased(t, "")
		close(f.block)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		f.wantAcked(t, "a1")
		f.wantReleased(t, "a2")
		if len(f.sent()) != 1 {
			t.Errorf("dead: %v", f.sent())
		}
	})
}

// guarantees: R2
func TestDeadLetterWithoutAnswerIsInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.block = make(chan struct{})
		c := f.consumer(t, nil, raw(func(_ context.Context, env *sixfold.Envelope) error { return sixfold.Permanent(errors.New("no")) }))
		stop := start(t, c)
		f.deliver(msg("a1", "a"), msg("a2", "a"))
		synctest.Wait()
		var drain *sixfold.DrainError
		at := time.Now()
		if err := stop(); !errors.As(err, &drain) || drain.InDoubt != 1 {
			t.Errorf("error: %v", err)
		}
		if d := time.Since(at); d > 11*time.Second {
			t.Errorf("the stop took %v", d)
		}
		f.wantAcked(t, "")
		f.wantReleased(t, "") // closing the source gives them back, in their order
	})
}

// guarantees: I10
func TestWhatNoHandlerCanTakeIsDeadAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.consumer(t, &bus.Options{MaxBody: 10}, sixfold.On(func(context.Context, placed) error { return nil }))
		stop := start(t, c)
		damaged := &bus.Delivery{Topic: "orders", Damaged: errors.New("bytes are no envelope")}
		damaged.Body, damaged.Key, damaged.ID = []byte("\x00{"), "k", strings.Repeat("x", 300)
		noType, unknown, large, late, bad := msg("no-type", ""), msg("unknown", ""), msg("large", ""), msg("late", ""), msg("bad", "")
		noType.Type, unknown.Type = "", "orders.cancelled"
		large.Body = make([]byte, 11)
		late.Expires = time.Now().Add(-time.Second)
		bad.Body = []byte("{")
		again := msg("read-again", "")
		again.Expires, again.Topic = late.Expires, "orders.dead"
		f.deliver(damaged, noType, unknown, large, late, bad, again, msg("good", ""))
		pass(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		want := map[string]string{"no-type": "no-type", "unknown": "no-handler", "large": "too-large", "late": "expired", "bad": "undecodable"}
		for _, out := range f.sent() {
			if out.Headers[bus.DeadReason] == "damaged" {
				if string(out.Body) != "\x00{" || out.Key != "k" || len(out.ID) != 36 || sixfold.CheckMessageName(out.Type) != nil {
					t.Errorf("damaged: %v %q", out.Envelope, out.Body)
				}
				continue
			}
			if out.Headers[bus.DeadReason] != want[out.ID] || out.Headers[bus.DeadError] == "" || out.Headers[bus.DeadAttempts] != "0" {
				t.Errorf("%s: %v", out.ID, out.Headers)
			}
			delete(want, out.ID)
		}
		if len(want) > 0 {
			t.Errorf("no dead letter of %v", want)
		}
		f.wantAcked(t, "no-type unknown large late bad read-again good "+damaged.ID)
	})
}

// guarantees: I10
func TestDeadLetterThatIsTooLargeIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.send = func(out bus.Outgoing) error {
			if len(out.Headers[bus.DeadError]) > 200 {
				return fmt.Errorf("%w: too much", bus.ErrTooLarge)
			}
			return nil
		}
		c := f.consumer(t, nil, raw(func(context.Context, *sixfold.Envelope) error {
			return sixfold.Permanent(errors.New(strings.Repeat("ä", 10_000)))
		}))
		stop := start(t, c)
		f.deliver(msg("a1", ""))
		pass(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		f.wantAcked(t, "a1")
		if got := f.sent()[0].Headers[bus.DeadError]; got != strings.Repeat("ä", 64) {
			t.Errorf("%d bytes: %q", len(got), got)
		}
	})
}

// guarantees: I9
func TestPanicIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var log lockedBuffer
		c := f.consumer(t, &bus.Options{Retry: sixfold.Retry{MaxAttempts: 2}, Concurrency: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))},
			raw(func(_ context.Context, env *sixfold.Envelope) error {
				if env.ID == "bad" {
					panic("boom")
				}
				return nil
			}))
		stop := start(t, c)
		f.deliver(msg("bad", ""), msg("good", ""))
		pass(time.Minute)
		f.wantAcked(t, "bad good")
		if err := stop(); err != nil {
			t.Error(err)
		}
		h := f.sent()[0].Headers
		if h[bus.DeadAttempts] != "2" || !strings.Contains(h[bus.DeadError], "boom") || strings.Contains(h[bus.DeadError], "goroutine") {
			t.Errorf("headers: %v", h)
		}
		if !strings.Contains(log.String(), "consumer_dead_test.go") {
			t.Errorf("no stack in the log: %s", log.String())
		}
	})
}

// guarantees: I9
func TestGoexitIsAFailedAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := f.consumer(t, &bus.Options{Retry: sixfold.Retry{MaxAttempts: 2}, Concurrency: 1}, raw(func(_ context.Context, env *sixfold.Envelope) error {
			if env.ID == "bad" {
				exit()
			}
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("bad", ""), msg("good", ""))
		pass(time.Minute)
		f.wantAcked(t, "bad good")
		if err := stop(); err != nil {
			t.Error(err)
		}
		if got := f.sent()[0].Headers[bus.DeadError]; !strings.Contains(got, "Goexit") {
			t.Errorf("error: %s", got)
		}
	})
}

type placed struct{ N int }

func (placed) MessageName() string { return "orders.placed" }

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
