package bus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

func nop(context.Context, *sixfold.Envelope) error { return nil }

// Everything that is wrong is named at once.
func TestNewConsumerNamesEverything(t *testing.T) {
	f := newFake()
	f.caps.OrderPerKey = false
	_, err := bus.NewConsumer(f, bus.Subscription{Topics: []string{"", "a b", "x", "x", strings.Repeat("t", 252)}, Group: "g\n", Ordered: true, MaxInFlight: -1},
		&bus.Options{Concurrency: -1, Retry: sixfold.Retry{MaxAttempts: -1}, ParkingLease: 1, ParkingPoll: -1, MaxParked: -1, HandlerTimeout: -1, DrainTimeout: -1, Ack: 7, MaxBody: -1, Middleware: []sixfold.Middleware{nil},
			Codecs: []sixfold.Codec{nil}, Inbox: &box{}},
		sixfold.RawNamed("a", nop), sixfold.RawNamed("a", nop), sixfold.Raw(nop), sixfold.Raw(nop), sixfold.Raw(nil), sixfold.On[placed](nil),
		sixfold.Route{Name: "b", Handle: nop, BatchSize: -1, MaxConcurrent: -1})
	if err == nil || !errors.Is(err, sixfold.ErrInvalid) {
		t.Fatal(err)
	}
	for _, want := range []string{`topic ""`, `"a b"`, "named twice", "dead letters have no name", `Group "g\n"`, "MaxInFlight -1", "Ordered, but fake", "Concurrency -1", "MaxAttempts -1", "ParkingLease 1ns: give at least 200ms", "ParkingPoll -1ns", "MaxParked -1",
		"HandlerTimeout -1ns", "DrainTimeout -1ns", "Ack 7", "MaxBody -1", "Middleware number 1", "Codecs number 1", "use AckAfterHandling", `called "a" have two handlers`,
		"two take every message", "raw route: the handler is nil", "(context.Context, bus_test.placed)", "a batch of -1", "a limit of -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

type subscriber struct{ f *fake }

func (s subscriber) Subscribe(ctx context.Context, sub bus.Subscription) (bus.Source, error) {
	return s.f.Subscribe(ctx, sub)
}
func (s subscriber) Capabilities() bus.Capabilities { return s.f.caps }

func TestNewConsumer(t *testing.T) {
	orders := bus.Subscription{Topics: []string{"orders"}, Group: "g"}
	unconfirmed := newFake()
	unconfirmed.caps.Confirms = false
	grouped, holding := newFake(), newFake()
	grouped.caps.Copies = false
	holding.caps.LongestHold = time.Minute
	for _, test := range []struct {
		name string
		t    bus.Subscriber
		s    bus.Subscription
		o    *bus.Options
		want string
	}{
		{"defaults", newFake(), orders, nil, ""},
		{"nothing", newFake(), bus.Subscription{}, nil, "there are none; name one"},
		{"local", newFake(), bus.Subscription{Group: "g"}, nil, ""},
		{"copies", newFake(), bus.Subscription{Topics: []string{"orders"}}, nil, ""},
		{"copies with inbox", newFake(), bus.Subscription{Topics: []string{"orders"}}, &bus.Options{Inbox: &box{}}, "name the group"},
		{"nil", nil, orders, nil, "transport: it is nil"},
		{"no sender", subscriber{newFake()}, orders, nil, "cannot send"},
		{"no sender and nothing to send", subscriber{newFake()}, orders, &bus.Options{Ack: bus.AckNever}, ""},
		{"a sender elsewhere", subscriber{newFake()}, orders, &bus.Options{DeadLetters: newFake()}, ""},
		{"dropped", subscriber{newFake()}, orders, &bus.Options{DeadLetters: bus.DropDeadLetters()}, ""},
		{"no confirms", unconfirmed, orders, nil, "does not confirm"},
		{"no confirms, elsewhere", unconfirmed, orders, &bus.Options{DeadLetters: newFake()}, ""},
		{"copies where there are none", grouped, bus.Subscription{Topics: []string{"orders"}}, nil, "fake has no copies for one process; name a Group"},
		{"groups alone", grouped, orders, nil, ""},
		{"handlers beyond the hold", holding, orders, &bus.Options{HandlerTimeout: time.Hour, Retry: sixfold.Retry{MaxBackoff: time.Second}}, "HandlerTimeout 1h0m0s: fake takes a delivery back after 1m0s"},
		{"waits beyond the hold", holding, orders, nil, "Retry.MaxBackoff 10m0s: without an Inbox a message waits in hand"},
		{"waits elsewhere", holding, orders, &bus.Options{Inbox: newLot()}, ""},
		{"acknowledged on receipt", holding, orders, &bus.Options{HandlerTimeout: time.Hour, Ack: bus.AckOnReceipt}, ""},
		{"at most once with inbox", newFake(), orders, &bus.Options{Inbox: &box{}, Ack: bus.AckOnReceipt}, "use AckAfterHandling"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := bus.NewConsumer(test.t, test.s, test.o, sixfold.Raw(nop))
			if test.want == "" && (err != nil || c.Health().State != bus.New) || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("error: %v", err)
			}
		})
	}
	if _, err := bus.NewConsumer(newFake(), orders, nil); err == nil || !strings.Contains(err.Error(), "routes: there are none") {
		t.Errorf("error: %v", err)
	}
}

func TestSubscribeWaitsForTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		until := time.Now().Add(time.Hour)
		tries := 0
		f.subscribe = func() error {
			tries++
			if time.Now().Before(until) {
				return fmt.Errorf("dial: %w", bus.ErrUnavailable)
			}
			return nil
		}
		var log lockedBuffer
		c := f.consumer(t, &bus.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, raw(nop))
		stop := start(t, c)
		f.deliver(msg("1", ""))
		pass(time.Minute)
		if h := c.Health(); h.State != bus.Connecting || !errors.Is(h.LastError, bus.ErrUnavailable) {
			t.Errorf("health: %+v", h)
		}
		pass(2 * time.Hour)
		f.wantAcked(t, "1")
		if tries < 100 || tries > 3000 || strings.Count(log.String(), "\n") != 2 {
			t.Errorf("%d tries, log:\n%s", tries, log.String())
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestStopWhileConnecting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.subscribe = func() error { return bus.ErrUnavailable }
		stop := start(t, f.consumer(t, nil, raw(nop)))
		pass(time.Minute)
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusalEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.subscribe = func() error { return fmt.Errorf("password: %w", bus.ErrRefused) }
		if err := f.consumer(t, nil, raw(nop)).Run(context.Background()); !errors.Is(err, bus.ErrRefused) {
			t.Error(err)
		}
		for _, bad := range []error{bus.ErrRefused, bus.ErrClosed} {
			f := newFake()
			n := 0
			f.receive = func() error {
				if n++; n > 1 {
					time.Sleep(time.Millisecond) // the handler begins
					return bad
				}
				return nil
			}
			f.deliver(msg("1", "a"))
			c := f.consumer(t, &bus.Options{Inbox: &box{}}, raw(func(context.Context, *sixfold.Envelope) error {
				time.Sleep(time.Second)
				return nil
			}))
			at := time.Now()
			if err := c.Run(context.Background()); !errors.Is(err, bad) {
				t.Error(err)
			}
			if d := time.Since(at); d > 2*time.Second {
				t.Errorf("the end took %v", d)
			}
			f.wantAcked(t, "1") // what was in flight came to its end
			if h := c.Health(); h.State != bus.Stopped || !errors.Is(h.LastError, bad) {
				t.Errorf("health: %+v", h)
			}
		}
	})
}

func TestReceiveThatIsAwayIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		n := 0
		f.receive = func() error {
			if n++; n < 10 {
				return bus.ErrUnavailable
			}
			return nil
		}
		stop := start(t, f.consumer(t, nil, raw(nop)))
		f.deliver(msg("1", ""))
		pass(time.Hour)
		f.wantAcked(t, "1")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		var handled, dead trace
		c := f.consumer(t, &bus.Options{Concurrency: 1, Retry: sixfold.Retry{MaxAttempts: 2, Backoff: func(int) time.Duration { return -time.Second }}, Hooks: bus.Hooks{
			Handled: func(d *bus.Delivery, attempt int, took time.Duration, err error) {
				handled.add(fmt.Sprint(d.ID, "/", attempt, "/", took, "/", err))
			},
			Dead: func(d *bus.Delivery, reason string, err error) { dead.add(fmt.Sprint(d.ID, "/", reason, "/", err)) },
		}}, raw(func(context.Context, *sixfold.Envelope) error {
			time.Sleep(time.Second)
			return errors.New("bad")
		}))
		stop := start(t, c)
		f.deliver(msg("1", ""))
		pass(time.Minute)
		handled.want(t, "1/1/1s/bad 1/2/1s/bad")
		dead.want(t, "1/attempts/bad")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}
