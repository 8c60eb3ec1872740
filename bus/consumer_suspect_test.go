package bus_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/sqltx"
)

// box counts like an inbox.
type box struct {
	mu       sync.Mutex
	attempts map[string]int // handled: -1
	calls    []string
	forgot   []string
	err      error
	turn     *bus.Turn
}

func (b *box) Suspect(_ context.Context, consumer string, ds []*bus.Delivery) ([]int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	var out []int
	for _, d := range ds {
		b.calls = append(b.calls, d.ID)
		if b.attempts[d.ID] < 0 {
			out = append(out, 0)
			continue
		}
		b.attempts[d.ID]++
		out = append(out, b.attempts[d.ID])
	}
	return out, nil
}

func (b *box) Turn() *bus.Turn { return b.turn }

func (b *box) Parking() bus.Parking { return nil }

func (b *box) Forget(_ context.Context, _ string, ds []*bus.Delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range ds {
		b.forgot = append(b.forgot, d.ID)
		if b.attempts[d.ID] > 0 {
			delete(b.attempts, d.ID)
		}
	}
	return nil
}

func (b *box) Maintain(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func again(d *bus.Delivery) *bus.Delivery {
	d.Redelivered = true
	return d
}

// What may have crashed the process is counted directly before it runs, and while it runs no other suspect has been
// counted: a message that kills its process takes an attempt from nobody else. Others go on meanwhile.
// [BadRowCostsNeighboursNothing] guarantees: I8
func TestSuspectsRunAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{}}
		running, most := 0, 0
		var mu sync.Mutex
		var got trace
		c := f.consumer(t, &bus.Options{Inbox: b}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			info := sixfold.InfoFrom(ctx)
			if !info.Redelivered {
				got.add(env.ID)
				return nil
			}
			mu.Lock()
			running++
			most = max(most, running)
			b.mu.Lock()
			counted := len(b.calls)
			b.mu.Unlock()
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			running--
			b.mu.Lock()
			defer b.mu.Unlock()
			if len(b.calls) != counted {
				t.Errorf("%v were counted while %s ran", b.calls[counted:], env.ID)
			}
			return nil
		}))
		stop := start(t, c)
		for _, id := range strings.Fields("s1 s2 s3 s4 s5 s6 s7 s8") {
			f.deliver(again(msg(id, id)), again(msg("u"+id, "")))
		}
		synctest.Wait()
		f.deliver(msg("fresh", ""), msg("free", ""))
		pass(100 * time.Millisecond)
		if s := got.String(); len(strings.Fields(s)) != 2 {
			t.Errorf("others handled meanwhile: %s", s)
		}
		pass(20 * time.Second)
		if most != 1 {
			t.Errorf("%d suspects at once", most)
		}
		if len(b.calls) != 16 {
			t.Errorf("counted %v", b.calls)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		f.wantAcked(t, strings.Join(b.calls, " ")+" fresh free")
	})
}

// [CrashOnLastAttempt] guarantees: I8, I3
func TestSuspectAfterItsLastAttemptIsDeadWithoutRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{"bomb": 3, "third": 2, "handled": -1}}
		var got trace
		c := f.consumer(t, &bus.Options{Inbox: b, Retry: sixfold.Retry{MaxAttempts: 3}}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			if n := sixfold.InfoFrom(ctx).Attempt; n != 3 {
				t.Errorf("%s: attempt %d", env.ID, n)
			}
			return errors.New("fails")
		}))
		stop := start(t, c)
		f.deliver(again(msg("bomb", "k")), again(msg("handled", "k")), again(msg("third", "k")))
		pass(time.Minute)
		f.wantAcked(t, "bomb handled third")
		got.want(t, "third")
		if err := stop(); err != nil {
			t.Error(err)
		}
		dead := f.sent()
		if len(dead) != 2 || dead[0].ID != "bomb" || dead[1].ID != "third" || dead[0].Headers[bus.DeadAttempts] != "3" || dead[1].Headers[bus.DeadAttempts] != "3" ||
			dead[0].Headers[bus.DeadReason] != "attempts" || !strings.Contains(dead[0].Headers[bus.DeadError], "crashed") {
			t.Errorf("dead: %v", dead)
		}
		wantSame(t, "forgotten", b.forgot, "bomb third")
	})
}

// guarantees: I8
func TestSuspectWaitsForItsDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{}, err: errors.New("database is away")}
		var got trace
		c := f.consumer(t, &bus.Options{Inbox: b}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			return nil
		}))
		stop := start(t, c)
		f.deliver(again(msg("s", "k")), msg("later", "k"), msg("other", "o"))
		pass(time.Hour)
		got.want(t, "other")
		b.mu.Lock()
		b.err = nil
		b.mu.Unlock()
		pass(time.Minute)
		got.want(t, "other s later")
		if b.attempts["s"] != 1 {
			t.Errorf("counted %d", b.attempts["s"])
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Without an inbox the source's own durable count is used where it has one, and nothing else that came over a wire.
// [ForgedDeliveryCount] guarantees: I8
func TestCountsOfTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var got trace
		c := f.consumer(t, &bus.Options{Retry: sixfold.Retry{MaxAttempts: 3}}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			if n := sixfold.InfoFrom(ctx).Attempt; n != len(env.Subject) {
				t.Errorf("%s: attempt %d", env.ID, n)
			}
			return nil
		}))
		stop := start(t, c)
		forged, second, bomb := msg("forged", "k"), msg("second", "k"), msg("bomb", "k")
		forged.Attempts, forged.Subject = 2_000_000_000, "1"
		forged.Headers = map[string]string{"sixfold-attempt": "99999999999999999999", "x-death": "7"}
		second.Attempts, second.Claims, second.Subject = 1, claims{}, "22"
		bomb.Attempts, bomb.Claims = 3, claims{}
		f.deliver(forged, second, bomb)
		pass(time.Second)
		got.want(t, "forged second")
		f.wantAcked(t, "forged second bomb")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// What the source counts is every row that a dead owner had in its hands, so with an inbox it only makes suspects: the
// neighbours of a message that kills its process lose no attempt. [BadRowCostsNeighboursNothing] guarantees: I8
func TestInboxCountsWhatTheSourceSuspects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{"bomb": 3}}
		var got trace
		c := f.consumer(t, &bus.Options{Inbox: b, Retry: sixfold.Retry{MaxAttempts: 3}}, raw(func(ctx context.Context, env *sixfold.Envelope) error {
			got.add(env.ID)
			if n := sixfold.InfoFrom(ctx).Attempt; n != 1 {
				t.Errorf("%s: attempt %d", env.ID, n)
			}
			return nil
		}))
		stop := start(t, c)
		bomb, behind, other := msg("bomb", "k"), msg("behind", "k"), msg("other", "o")
		for _, d := range []*bus.Delivery{bomb, behind, other} {
			d.Attempts, d.Claims = 9, claims{}
		}
		f.deliver(bomb, behind, other)
		pass(time.Second)
		f.wantAcked(t, "bomb behind other")
		if dead := f.sent(); len(dead) != 1 || dead[0].ID != "bomb" {
			t.Errorf("dead: %v", dead)
		}
		wantSame(t, "forgotten", b.forgot, "bomb behind other")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// Consumers of one process share the turn of their suspects: one that kills the process takes an attempt from nobody
// else's. [BadRowCostsNeighboursNothing] guarantees: I8
func TestSuspectsOfTwoConsumersRunAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &box{attempts: map[string]int{}, turn: bus.NewTurn()}
		running := make(chan string, 8)
		release := make(chan struct{})
		handler := raw(func(_ context.Context, env *sixfold.Envelope) error {
			running <- env.ID
			<-release
			return nil
		})
		one, two := newFake(), newFake()
		stopOne := start(t, one.consumer(t, &bus.Options{Inbox: b}, handler))
		stopTwo := start(t, two.consumer(t, &bus.Options{Inbox: b}, handler))
		one.deliver(again(msg("a", "a")))
		synctest.Wait()
		two.deliver(again(msg("b", "b")))
		synctest.Wait()
		if len(running) != 1 || len(b.calls) != 1 {
			t.Errorf("%d run, %v were counted", len(running), b.calls)
		}
		close(release)
		pass(time.Second)
		if len(running) != 2 || len(b.calls) != 2 {
			t.Errorf("%d ran, %v were counted", len(running), b.calls)
		}
		if err := errors.Join(stopOne(), stopTwo()); err != nil {
			t.Error(err)
		}
	})
}

// An outage counts no attempt of a suspect beyond the one that its last run may have come to, and none while it waits:
// other suspects run then, and one may kill the process. guarantees: I8
func TestSuspectInAnOutageLosesOneAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{}}
		tries := 0
		c := f.consumer(t, &bus.Options{Inbox: b, Retry: sixfold.Retry{MaxAttempts: 3}}, raw(func(context.Context, *sixfold.Envelope) error {
			if tries++; tries < 20 {
				return bus.ErrUnavailable
			}
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.attempts["s"] != 1 || len(b.forgot) != tries-1 {
				t.Errorf("before try %d: %d counted, %d taken back", tries, b.attempts["s"], len(b.forgot))
			}
			return nil
		}))
		stop := start(t, c)
		f.deliver(again(msg("s", "k")))
		pass(time.Hour)
		f.wantAcked(t, "s")
		if tries != 20 || b.attempts["s"] != 1 || len(f.sent()) != 0 {
			t.Errorf("%d tries, %d counted, dead: %v", tries, b.attempts["s"], f.sent())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

type claims struct{}

func (claims) Claim(context.Context, sqltx.Tx, []*bus.Delivery) ([]bus.Found, error) { return nil, nil }

// A consumer takes the inbox of its routes, so that what may have crashed a process is counted although the inbox was
// named only once. guarantees: I8
func TestInboxOfRoutesIsTheConsumers(t *testing.T) {
	ours := func(b *box) sixfold.Route {
		r := sixfold.RawNamed("orders.placed", func(context.Context, *sixfold.Envelope) error { return nil })
		r.Inbox = b
		return r
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{}}
		r := ours(b)
		r.Name = msg("x", "x").Type
		c := f.consumer(t, &bus.Options{}, r)
		stop := start(t, c)
		f.deliver(again(msg("s1", "s1")))
		synctest.Wait()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if len(b.calls) != 1 {
			t.Errorf("the inbox of the route counted %v, want s1", b.calls)
		}
	})
	f := newFake()
	for say, c := range map[string]struct {
		s      bus.Subscription
		o      *bus.Options
		routes []sixfold.Route
	}{
		"another inbox": {bus.Subscription{Topics: []string{"orders"}, Group: "g"}, &bus.Options{Inbox: &box{}}, []sixfold.Route{ours(&box{})}},
		"there is none": {bus.Subscription{Topics: []string{"orders"}}, nil, []sixfold.Route{ours(&box{})}},
	} {
		if _, err := bus.NewConsumer(f, c.s, c.o, c.routes...); !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), say) {
			t.Errorf("%v, want %q", err, say)
		}
	}
}

// A suspect whose lease is lost while it runs has not crashed the process: the count is taken back, or an overloaded
// machine would turn messages into dead letters. guarantees: I8
func TestLostLeaseCostsSuspectsNoAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		b := &box{attempts: map[string]int{}}
		c := f.consumer(t, &bus.Options{Inbox: b}, raw(func(ctx context.Context, _ *sixfold.Envelope) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		stop := start(t, c)
		d := again(msg("s1", "k"))
		owned, lose := context.WithCancel(t.Context())
		d.Owned = owned
		f.deliver(d)
		synctest.Wait()
		if len(b.calls) != 1 {
			t.Fatalf("counted: %v", b.calls)
		}
		lose()
		synctest.Wait()
		if len(b.forgot) != 1 || b.forgot[0] != "s1" {
			t.Errorf("taken back: %v, want s1", b.forgot)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
