package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// rig is a database and a broker.
type rig struct {
	t      *testing.T
	db     *outbox.FakeDB
	broker *outbox.FakeBroker
	opts   outbox.RelayOptions
}

// bubble runs f with a rig in a synctest bubble.
func bubble(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, &rig{t: t, db: outbox.NewFakeDB(), broker: &outbox.FakeBroker{}, opts: outbox.RelayOptions{Logger: quiet()}})
	})
}

// put commits a row for topic "t"; body says which.
func (r *rig) put(key, body string) int64 { return r.putRow(row("", "t", key, body)) }

func (r *rig) putRow(row outbox.Row) int64 {
	seq := r.db.Put(outbox.ToBroker, row)
	r.db.Bell(outbox.ToBroker).Ring(outbox.Now)
	return seq
}

func row(class, topic, key, body string) outbox.Row {
	env := &sixfold.Envelope{Type: "test." + topic}
	return outbox.Row{ID: sixfold.NewID(), Class: class, Topic: topic, Key: key, Partition: outbox.PartitionOf(key), Body: []byte(body),
		Attrs: outbox.EncodeAttrs(env, outbox.Flags{MustReach: true})}
}

// running is a relay at work.
type running struct {
	*outbox.Relay
	t    *testing.T
	end  context.CancelFunc
	done chan error
}

func (r *rig) start() *running {
	r.t.Helper()
	relay, err := outbox.NewRelay(r.db, r.broker, &r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	return run(r.t, relay)
}

func run(t *testing.T, relay *outbox.Relay) *running {
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan struct{})
	t.Cleanup(func() { // so that a test which fails leaves nothing in its bubble
		end()
		<-ended
	})
	x := &running{Relay: relay, t: t, end: end, done: make(chan error, 1)}
	go func() {
		defer close(ended)
		x.done <- relay.Run(ctx)
	}()
	return x
}

func (x *running) stop() error {
	x.end()
	return <-x.done
}

// mustStop expects a stop that leaves nothing in doubt.
func (x *running) mustStop() {
	x.t.Helper()
	if err := x.stop(); err != nil {
		x.t.Error(err)
	}
}

func (r *rig) wantBodies(what string, want ...string) {
	r.t.Helper()
	synctest.Wait()
	if got := r.broker.Bodies(); !slices.Equal(got, want) {
		r.t.Fatalf("%s: the broker took %q, want %q", what, got, want)
	}
}

func (r *rig) wantLeft(what string, want ...int64) {
	r.t.Helper()
	synctest.Wait()
	if got := r.db.Left(outbox.ToBroker); !slices.Equal(got, want) {
		r.t.Fatalf("%s: rows %v are left, want %v", what, got, want)
	}
}

// guarantees: R1, R2, R4 [SettleOnlyAfterConfirm] [StopBurnsNothing]
func TestRelaySendsInOrderAndSettlesWhatIsConfirmed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Hold(func(o bus.Outgoing) bool { return string(o.Body) == "b" })
		for _, body := range []string{"a", "b", "c"} {
			r.put("k", body)
		}
		x := r.start()
		time.Sleep(time.Second)
		r.wantBodies("at first", "a", "b", "c")
		r.wantLeft("before the confirm of b, which is in their batch", 1, 2, 3)
		r.put("k", "d")
		time.Sleep(time.Second)
		r.wantBodies("then", "a", "b", "c", "d")
		r.broker.Release()
		time.Sleep(time.Second)
		r.wantLeft("after the confirm")
		x.mustStop()
		for _, taken := range r.broker.Taken() {
			if !strings.HasPrefix(taken.Sequence, fmt.Sprintf("%d/", outbox.PartitionOf("k"))) || taken.Key != "k" || taken.Type != "test.t" {
				t.Errorf("%+v", taken.Envelope)
			}
		}
		if nodes := r.db.Nodes(""); len(nodes) != 0 || r.db.Held("")[""] != outbox.Partitions {
			t.Errorf("after the stop: nodes %v, partitions by owner %v", nodes, r.db.Held(""))
		}
	})
}

// A row that is in flight for longer than any poll, beat or sweep is not read again. guarantees: R2 [SlowSendNoReread]
func TestRelayDoesNotReadAgainWhatIsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.Sweep = time.Second
		r.broker.Hold(func(bus.Outgoing) bool { return true })
		x := r.start()
		for i := range 20 {
			r.put(fmt.Sprint(i%3), fmt.Sprint(i))
		}
		time.Sleep(10 * time.Minute)
		if n := len(r.broker.Taken()); n != 20 {
			t.Errorf("the broker took %d envelopes of 20", n)
		}
		r.broker.Hold(nil)
		r.broker.Release()
		time.Sleep(time.Second)
		r.wantLeft("afterwards")
		x.mustStop()
		if n := len(r.broker.Taken()); n != 20 {
			t.Errorf("the broker took %d envelopes of 20", n)
		}
	})
}

func TestRelayKeepsMaxInFlight(t *testing.T) {
	for _, loose := range []bool{false, true} {
		for _, most := range []int{1, 2, 3, 10} {
			t.Run(fmt.Sprintf("%d, loose %v", most, loose), func(t *testing.T) {
				bubble(t, func(t *testing.T, r *rig) {
					r.broker.Loose = loose
					r.opts.MaxInFlight = most
					r.broker.Hold(func(bus.Outgoing) bool { return true })
					for i := range 50 {
						r.put(fmt.Sprint(i%2), fmt.Sprint(i))
					}
					x := r.start()
					for range 200 {
						time.Sleep(20 * time.Millisecond)
						r.broker.Release()
					}
					r.wantLeft("afterwards")
					x.mustStop()
					if _, max := r.broker.Counts(); max > most {
						t.Errorf("%d were in flight", max)
					}
				})
			})
		}
	}
}

// A relay of one class gets past any number of rows of another one, and past its own that are in flight, at once.
// guarantees: R6, R8
func TestRelayReadsOnBehindForeignRows(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.opts.Batch = 10
		r.opts.Sweep = time.Second
		for range 1000 {
			r.putRow(row("elsewhere", "t", "", "x"))
		}
		r.put("k", "mine")
		start := time.Now()
		x := r.start()
		for len(r.broker.Taken()) == 0 && time.Since(start) < time.Minute {
			time.Sleep(time.Millisecond)
		}
		if d := time.Since(start); d > 100*time.Millisecond {
			t.Errorf("it took %v", d)
		}
		x.mustStop()
	})
}

func TestRelayRunTwice(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.start()
		synctest.Wait()
		if err := x.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "twice") {
			t.Error(err)
		}
		x.mustStop()
	})
}

func TestRelayRunWithAnEndedContext(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		relay, err := outbox.NewRelay(r.db, r.broker, &r.opts)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := relay.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}

func TestRelayIsRefusedBySchemaOrCredentials(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		wrong := errors.New("the schema is of another version")
		r.db.Fail(func(op string) error {
			if op == "check" {
				return wrong
			}
			return nil
		}, nil)
		if err := <-r.start().done; !errors.Is(err, wrong) {
			t.Error(err)
		}
		r.db.Fail(nil, nil)
		r.broker.Cut(fmt.Errorf("login: %w", bus.ErrRefused))
		err := <-r.start().done
		if !errors.Is(err, bus.ErrRefused) || !strings.HasPrefix(err.Error(), `outbox: relay to "": open a sender: `) {
			t.Error(err)
		}
	})
}

func TestNewRelayRefuses(t *testing.T) {
	db := outbox.NewFakeDB()
	for name, c := range map[string]struct {
		st   outbox.Store
		t    bus.Transport
		opts outbox.RelayOptions
		say  []string
	}{
		"nothing":          {nil, nil, outbox.RelayOptions{}, []string{"the store is nil", "there is no transport"}},
		"no confirms":      {db, &outbox.FakeBroker{NoConfirm: true}, outbox.RelayOptions{}, []string{"does not confirm"}},
		"a nil transport":  {db, nil, outbox.RelayOptions{Transports: map[string]bus.Transport{"a": nil}}, []string{`transport "a" is nil`}},
		"two defaults":     {db, &outbox.FakeBroker{}, outbox.RelayOptions{Transports: map[string]bus.Transport{"": &outbox.FakeBroker{}}}, []string{`two transports called ""`}},
		"a bad name":       {db, nil, outbox.RelayOptions{Transports: map[string]bus.Transport{"a b": &outbox.FakeBroker{}}}, []string{`name "a b"`}},
		"lease":            {db, &outbox.FakeBroker{}, outbox.RelayOptions{Lease: time.Millisecond}, []string{"Lease is 1ms", "at least 200ms"}},
		"negative":         {db, &outbox.FakeBroker{}, outbox.RelayOptions{Batch: -1, MaxInFlight: -5, Poll: -1, Sweep: -1, DrainTimeout: -1}, []string{"Batch is -1", "MaxInFlight is -5", "Poll is -1ns", "Sweep is -1ns", "DrainTimeout is -1ns"}},
		"batch 10 million": {db, &outbox.FakeBroker{}, outbox.RelayOptions{Batch: 10_000_000}, []string{"Batch is 10000000; give 1 to 10000"}},
	} {
		t.Run(name, func(t *testing.T) {
			relay, err := outbox.NewRelay(c.st, c.t, &c.opts)
			if relay != nil || err == nil {
				t.Fatalf("%v, %v", relay, err)
			}
			for _, say := range c.say {
				if !strings.Contains(err.Error(), say) {
					t.Errorf("the error does not say %q: %v", say, err)
				}
			}
		})
	}
	if relay, err := outbox.NewRelay(db, &outbox.FakeBroker{}, nil); err != nil || relay.String() != "outbox: relay" {
		t.Errorf("%v, %v", relay, err)
	}
}

// guarantees: R1
func TestRelayHooksAndHealth(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		var said []string
		say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
		r.opts.Hooks = outbox.Hooks{
			Started:     func(class string) { say("started %q", class) },
			Stopped:     func(class string, err error) { say("stopped %q %v", class, err) },
			Read:        func(_ string, rows, late int) { say("read %d %d", rows, late) },
			Sent:        func(_ string, rows int) { say("sent %d", rows) },
			Settled:     func(_ string, rows int, took time.Duration) { say("settled %d %v", rows, took) },
			Missed:      func(_, topic, name string) { say("missed %s %s", topic, name) },
			Failed:      func(_ string, row *outbox.FailedRow, err error) { say("failed %v %v", row != nil, err) },
			LeaseGained: func(_ string, ls []outbox.Lease) { say("gained %d", len(ls)) },
			LeaseLost:   func(_ string, n int) { say("lost %d", n) },
		}
		r.broker.Judge(func(o bus.Outgoing) error {
			if string(o.Body) == "bad" {
				return bus.ErrRefused
			}
			return nil
		})
		r.put("a", "good")
		r.put("b", "bad")
		x := r.start()
		time.Sleep(500 * time.Millisecond)
		h := x.Health().Classes[0]
		if h.Partitions != 64 || h.InFlight != 0 || h.Node == "" || len(h.Blocked) != 1 || h.Blocked[0].Seq != 2 || h.Down != nil {
			t.Errorf("%+v", h)
		}
		x.mustStop()
		want := []string{`started ""`, "gained 64", "read 2 0", "sent 2", "failed true the broker refused", "settled 1 0s", "lost 64", `stopped "" <nil>`}
		if !slices.Equal(said, want) {
			t.Errorf("%q, want %q", said, want)
		}
	})
}

// guarantees: R1 [UnroutableIsFailure]
func TestRelayMayMissAndMustReach(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.broker.Judge(func(o bus.Outgoing) error {
			if string(o.Body) != "fine" {
				return bus.ErrUnroutable
			}
			return nil
		})
		miss := row("", "t", "m", "event")
		miss.Attrs = outbox.EncodeAttrs(&sixfold.Envelope{Type: "an.event"}, outbox.Flags{})
		r.putRow(miss)
		r.put("c", "command") // 2
		r.put("c", "fine")    // 3: waits behind it
		r.put("m", "fine")
		x := r.start()
		time.Sleep(500 * time.Millisecond)
		r.wantBodies("before there is a route", "fine")
		r.wantLeft("before there is a route", 2, 3)
		if missed := x.Health().Classes[0].Missed; len(missed) != 1 || missed["an.event"] != 1 {
			t.Errorf("%v", missed)
		}
		if b := x.Blocked(); len(b) != 1 || b[0].Seq != 2 || b[0].Key != "c" || b[0].Reason == "" || b[0].Attempts != 1 {
			t.Errorf("%+v", b)
		}
		r.broker.Judge(nil)
		time.Sleep(2 * time.Second)
		r.wantBodies("with a route", "fine", "command", "fine")
		r.wantLeft("with a route")
		if b := x.Blocked(); len(b) != 0 {
			t.Errorf("%+v", b)
		}
		x.mustStop()
	})
}

// One transport's outage does not stop the other. guarantees: R6
func TestRelayOfSeveralTransports(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		other := &outbox.FakeBroker{}
		r.opts.Transports = map[string]bus.Transport{"other": other}
		r.broker.Cut(bus.ErrUnavailable)
		r.put("k", "first")
		r.putRow(row("other", "t", "k", "second"))
		x := r.start()
		time.Sleep(time.Second)
		if got := other.Bodies(); !slices.Equal(got, []string{"second"}) {
			t.Errorf("%q", got)
		}
		r.wantLeft("during the outage", 1)
		if h := x.Health().Classes; len(h) != 2 || h[0].Class != "" || h[0].Down == nil || h[1].Class != "other" || h[1].Down != nil {
			t.Errorf("%+v", h)
		}
		r.broker.Restore()
		time.Sleep(10 * time.Second)
		r.wantBodies("after it", "first")
		x.mustStop()
	})
}
