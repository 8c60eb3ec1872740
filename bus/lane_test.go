package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

func batched(size int, batch sixfold.BatchHandler, single sixfold.Handler) sixfold.Route {
	r := raw(single)
	r.Batch, r.BatchSize = batch, size
	return r
}

func ids(envs []*sixfold.Envelope) string {
	var out []string
	for _, env := range envs {
		out = append(out, env.ID)
	}
	return strings.Join(out, "+")
}

// guarantees: K2
func TestBatchesAreRunsOfOneRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{}}
		var got trace
		c := f.consumer(t, &bus.Options{Concurrency: 1, Inbox: b}, batched(3, func(ctx context.Context, envs []*sixfold.Envelope) error {
			got.add(ids(envs))
			info := sixfold.InfoFrom(ctx)
			if len(info.Envelopes) != len(envs) || info.Envelope != envs[0] || len(bus.DeliveriesFrom(ctx)) != len(envs) {
				t.Errorf("context of %s: %+v", ids(envs), info)
			}
			return nil
		}, func(_ context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			return nil
		}), sixfold.Raw(func(_ context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			return nil
		}))
		other := msg("x", "a")
		other.Type = "other"
		c2 := msg("c2", "")
		f.deliver(msg("1", "a"), msg("2", "b"), msg("3", "a"), msg("4", "a"), other, msg("5", "a"), again(msg("6", "s")), msg("7", "c"), msg("8", "d"))
		stop := start(t, c)
		synctest.Wait()
		f.deliver(c2)
		synctest.Wait()
		got.want(t, "1+2+3 4 x 5 6 7+8 c2")
		if err := stop(); err != nil {
			t.Error(err)
		}
		f.wantAcked(t, "1 2 3 4 x 5 6 7 8 c2")
	})
}

// guarantees: I8, K2
func TestFailedBatchRunsOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got trace
		calls := 0
		c := f.consumer(t, &bus.Options{Concurrency: 1, Retry: sixfold.Retry{MaxAttempts: 1}}, batched(10, func(ctx context.Context, envs []*sixfold.Envelope) error {
			got.add(ids(envs))
			if calls++; calls == 1 {
				return fmt.Errorf("database: %w", bus.ErrUnavailable)
			}
			panic("batch")
		}, func(ctx context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			if n := sixfold.InfoFrom(ctx).Attempt; n != 1 {
				t.Errorf("%s: attempt %d", env.ID, n)
			}
			if env.ID == "2" {
				return errors.New("bad")
			}
			return nil
		}))
		f.deliver(msg("1", "a"), msg("2", "a"), msg("3", "b"), msg("4", "a"))
		stop := start(t, c)
		pass(time.Minute)
		got.want(t, "1+2+3+4 1+2+3+4 1 2 3 4")
		f.wantAcked(t, "1 2 3 4")
		if dead := f.sent(); len(dead) != 1 || dead[0].ID != "2" {
			t.Errorf("dead: %v", dead)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestMiddlewareSeesEveryMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got trace
		note := func(name string) sixfold.Middleware {
			return func(next sixfold.Handler) sixfold.Handler {
				return func(ctx context.Context, env *sixfold.Envelope) error {
					got.add(name + env.ID)
					return next(ctx, env)
				}
			}
		}
		r := batched(10, func(context.Context, []*sixfold.Envelope) error {
			got.add("batch")
			return nil
		}, func(_ context.Context, env *sixfold.Envelope) error {
			got.add("h" + env.ID)
			return nil
		})
		c := f.consumer(t, &bus.Options{Concurrency: 1, Middleware: []sixfold.Middleware{note("o"), note("i")}}, r)
		f.deliver(msg("1", "a"), msg("2", "a"))
		stop := start(t, c)
		synctest.Wait()
		got.want(t, "o1 i1 h1 o2 i2 h2")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// guarantees: I8
func TestOutageIsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		until := time.Now().Add(time.Hour)
		calls := 0
		c := f.consumer(t, &bus.Options{Retry: sixfold.Retry{MaxAttempts: 1}}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			calls++
			if n := sixfold.InfoFrom(ctx).Attempt; n != 1 {
				t.Errorf("attempt %d", n)
			}
			if time.Now().Before(until) {
				return fmt.Errorf("db: %w", bus.ErrUnavailable)
			}
			return nil
		}))
		f.deliver(msg("1", "a"))
		stop := start(t, c)
		pass(2 * time.Hour)
		f.wantAcked(t, "1")
		if calls < 300 || calls > 3000 || len(f.sent()) > 0 {
			t.Errorf("%d calls in an hour, dead %v", calls, f.sent())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRetryAfterAndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.caps.ExtendEvery = time.Minute
		begin := time.Now()
		var at []time.Duration
		c := f.consumer(t, &bus.Options{Retry: sixfold.Retry{Backoff: func(n int) time.Duration { return time.Duration(n) * time.Second }}}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			at = append(at, time.Since(begin).Round(time.Second))
			switch len(at) {
			case 1:
				return sixfold.RetryAfter(time.Hour, errors.New("come back"))
			case 2, 3:
				return sixfold.RetryAfter(time.Millisecond, errors.New("come back"))
			}
			return nil
		}))
		f.deliver(msg("1", "a"))
		stop := start(t, c)
		pass(2 * time.Hour)
		if got := fmt.Sprint(at); got != "[0s 1h0m0s 1h0m2s 1h0m5s]" {
			t.Errorf("attempts at %s", got)
		}
		if n := f.extended["1"]; n != 60 {
			t.Errorf("extended %d times", n)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		f.wantAcked(t, "1")
	})
}

// A route at its limit holds back its own messages, not the lanes.
func TestRouteLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var mu sync.Mutex
		running, most := 0, 0
		order := map[string]string{}
		var fast trace
		c := f.consumer(t, &bus.Options{Concurrency: 4}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			mu.Lock()
			running++
			most = max(most, running)
			order[env.Key] += env.ID + " "
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}).Limit(2), sixfold.Raw(func(_ context.Context, env *sixfold.Envelope) error {
			fast.add(env.ID)
			return nil
		}))
		stop := start(t, c)
		var all []string
		for i := range 20 {
			id := fmt.Sprint("m", i)
			all = append(all, id)
			f.deliver(msg(id, []string{"a", "b", "c", "d", ""}[i%5]))
		}
		synctest.Wait()
		for i := range 20 {
			d := msg(fmt.Sprint("f", i), fmt.Sprint("k", i))
			d.Type = "fast"
			all = append(all, d.ID)
			f.deliver(d)
		}
		pass(1500 * time.Millisecond)
		if n := len(strings.Fields(fast.String())); n != 20 {
			t.Errorf("%d of the other route", n)
		}
		pass(time.Minute)
		if most != 2 {
			t.Errorf("%d at once", most)
		}
		for key, want := range map[string]string{"a": "m0 m5 m10 m15 ", "b": "m1 m6 m11 m16 "} {
			if order[key] != want {
				t.Errorf("key %s: %s", key, order[key])
			}
		}
		f.wantAcked(t, strings.Join(all, " "))
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// guarantees: R2
func TestStopWithARouteAtItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{}}
		c := f.consumer(t, &bus.Options{Concurrency: 3, Inbox: b}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			time.Sleep(time.Second)
			return nil
		}).Limit(1))
		stop := start(t, c)
		f.deliver(msg("a1", "a"))
		synctest.Wait()
		f.deliver(msg("a2", "a"), again(msg("b1", "b")), again(msg("c1", "c")), again(msg("c2", "c")), msg("c3", "c"), again(msg("u", "")))
		synctest.Wait()
		if err := stop(); err != nil {
			t.Error(err)
		}
		f.wantAcked(t, "a1")
		f.wantReleased(t, "a2 b1 c1 c2 c3 u")
		if len(b.calls) != 0 {
			t.Errorf("counted %v", b.calls)
		}
	})
}

// At most once: acknowledged before it runs; a failure still becomes a dead letter.
func TestAckOnReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.settle = func(s bus.Settlement) error {
			if s.ID == "lost" && !s.Release {
				return bus.ErrLost
			}
			return nil
		}
		var got trace
		c := f.consumer(t, &bus.Options{Ack: bus.AckOnReceipt, Retry: sixfold.Retry{MaxAttempts: 3}, Concurrency: 1}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			f.wantAckedSoFar(t, env.ID)
			got.add(env.ID)
			if env.ID == "bad" {
				return errors.New("bad")
			}
			time.Sleep(time.Second)
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("lost", "l"), msg("bad", "b"), msg("a1", "a"), msg("a2", "a"), msg("a3", "a"))
		pass(1500 * time.Millisecond)
		if err := stop(); err != nil { // runs what was acknowledged, since it cannot be given back
			t.Error(err)
		}
		f.wantAcked(t, "bad a1 a2 a3")
		if dead := f.sent(); len(dead) != 1 || dead[0].ID != "bad" || dead[0].Headers[bus.DeadAttempts] != "3" {
			t.Errorf("dead: %v", dead)
		}
		if s := got.String(); strings.Count(s, "a1")+strings.Count(s, "a2")+strings.Count(s, "a3") != 3 {
			t.Errorf("handled %s", s)
		}
		if h := c.Health(); h.InFlight != 0 {
			t.Errorf("health: %+v", h)
		}
	})
}

// What is not acknowledged yet when the stop comes is given back, what is on its way to be is run.
func TestStopOnReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.settling = make(chan struct{})
		var got trace
		c := f.consumer(t, &bus.Options{Ack: bus.AckOnReceipt, Concurrency: 1}, raw(func(_ context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			return nil
		}))
		stop := start(t, c)
		f.deliver(msg("1", "a"))
		synctest.Wait()
		f.deliver(msg("2", "a"))
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- stop() }()
		synctest.Wait()
		close(f.settling)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		got.want(t, "1")
		f.wantAcked(t, "1")
		f.wantReleased(t, "2")
	})
}

func TestAckNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got trace
		c := f.consumer(t, &bus.Options{Ack: bus.AckNever, Concurrency: 1}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			return errors.New("bad")
		}))
		stop := start(t, c)
		unknown := msg("unknown", "a")
		unknown.Type = "unknown"
		f.deliver(msg("a1", "a"), unknown, msg("a2", "a"))
		pass(time.Hour)
		got.want(t, "a1 a2")
		if h := c.Health(); h.InFlight != 3 {
			t.Errorf("health: %+v", h)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		f.wantAcked(t, "")
		f.wantReleased(t, "")
		if len(f.sent()) > 0 {
			t.Errorf("sent: %v", f.sent())
		}
	})
}

func TestPauseAndResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got, states trace
		c := f.consumer(t, &bus.Options{Hooks: bus.Hooks{State: func(s bus.State) { states.add(s.String()) }}},
			raw(func(_ context.Context, env *sixfold.Envelope) error {
				got.add(env.ID)
				return nil
			}))
		stop := start(t, c)
		f.deliver(msg("1", "a"))
		synctest.Wait()
		c.Pause()
		c.Pause()
		f.deliver(msg("2", "a"))
		f.deliver(msg("3", "a"))
		pass(time.Hour)
		got.want(t, "1")
		if h := c.Health(); h.State != bus.Paused {
			t.Errorf("health: %+v", h)
		}
		c.Resume()
		c.Resume()
		pass(time.Second)
		got.want(t, "1 2 3")
		c.Pause()
		f.deliver(msg("4", "a"))
		pass(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		got.want(t, "1 2 3")
		f.wantReleased(t, "4")
		states.want(t, "connecting running paused running paused draining stopped")
	})
}
