package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// through opens a sender through mws on a broker with one topic, and answers a reader of what has arrived.
func through(t *testing.T, mws ...sixfold.Middleware) (bus.Sender, func() string, *memory.Transport) {
	broker := memory.New(&memory.Options{Topics: []string{"t"}})
	var got trace
	broker.Tap(func(_ string, env *sixfold.Envelope) { got.add(fmt.Sprintf("%s%v", env.Body, env.Headers["stamp"])) })
	s, err := bus.Through(broker, mws...).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s, got.String, broker
}

func out(key, body string) bus.Outgoing {
	return bus.Outgoing{Topic: "t", Envelope: &sixfold.Envelope{ID: sixfold.NewID(), Source: "s", Type: "t", Key: key, Body: []byte(body)}}
}

// What is sent passes through the same middleware as what is handled, in order, and next answers what the broker does. guarantees: M3
func TestThroughSeesSendAndAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log trace
		s, got, broker := through(t, func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				log.add("send " + string(env.Body))
				own := *env
				own.Headers = map[string]string{"stamp": "!"}
				err := next(ctx, &own)
				log.add(fmt.Sprintf("%s %v", env.Body, err == nil))
				return errors.New("what comes after the broker's answer changes nothing")
			}
		}, nil)
		release := hold(broker)
		batch := []bus.Outgoing{out("k", "1"), out("k", "2"), out("", "3")}
		p := s.Send(t.Context(), batch)
		if log.String() != "send 1 send 2 send 3" {
			t.Errorf("before the confirm: %s", log.String())
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if errs := p.Wait(ended); !errors.Is(errs[0], context.Canceled) {
			t.Errorf("in doubt: %v", errs)
		}
		release()
		for range 2 {
			if err := errors.Join(p.Wait(t.Context())...); err != nil {
				t.Error(err)
			}
		}
		if got() != "1! 2! 3!" || log.String() != "send 1 send 2 send 3 1 true 2 true 3 true" {
			t.Errorf("arrived %s, seen %s", got(), log.String())
		}
		if batch[0].Headers != nil {
			t.Error("the caller's envelope was changed")
		}
		broker.Cut()
		if errs := s.Send(t.Context(), []bus.Outgoing{out("k", "4")}).Wait(t.Context()); !errors.Is(errs[0], bus.ErrUnavailable) {
			t.Error(errs)
		}
		if !strings.HasSuffix(log.String(), "send 4 4 false") {
			t.Error(log.String())
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func hold(b *memory.Transport) (release func()) {
	b.HoldConfirms(func(string, *sixfold.Envelope) bool { return true })
	return func() {
		b.HoldConfirms(nil)
		b.ReleaseConfirms()
	}
}

// What a middleware refuses is not sent, and what follows of its key neither. guarantees: K1
func TestThroughRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, got, _ := through(t, func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				switch string(env.Body) {
				case "no":
					return errors.New("not today")
				case "down":
					return fmt.Errorf("%w: closed", bus.ErrUnavailable)
				case "nothing":
					return nil
				case "panic":
					panic("oh")
				case "other":
					own := *env
					own.Key = "z"
					return next(ctx, &own)
				case "away":
					return next(context.Background(), env)
				case "twice":
					if err := next(ctx, env); err != nil {
						return err
					}
				}
				return next(ctx, env)
			}
		})
		want := map[string]error{"no": bus.ErrRefused, "down": bus.ErrUnavailable, "nothing": bus.ErrRefused, "panic": bus.ErrRefused, "other": bus.ErrRefused, "away": bus.ErrRefused, "twice": nil, "yes": nil}
		var batch []bus.Outgoing
		for body := range want {
			batch = append(batch, out(body, body), out(body, "after"))
		}
		for i, err := range s.Send(t.Context(), batch).Wait(t.Context()) {
			key := batch[i].Key
			switch first := i%2 == 0; {
			case want[key] == nil && err != nil, first && want[key] != nil && !errors.Is(err, want[key]), !first && want[key] != nil && !errors.Is(err, bus.ErrBehindFailed):
				t.Errorf("%s: %v", key, err)
			}
		}
		if n := strings.Count(got(), "after"); n != 2 || strings.Count(got(), "twice") != 1 {
			t.Errorf("arrived: %s", got())
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What was never waited for ends with its sender.
func TestThroughLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails when a goroutine is left
		var seen error
		ended := make(chan struct{})
		s, _, broker := through(t, func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				defer close(ended)
				seen = next(ctx, env)
				return seen
			}
		})
		hold(broker)
		s.Send(t.Context(), []bus.Outgoing{out("k", "1")})
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		<-ended
		if !errors.Is(seen, bus.ErrUnavailable) {
			t.Error(seen)
		}
	})
}

func TestThroughNothingIsTheTransportItself(t *testing.T) {
	broker := memory.New(nil)
	if got := bus.Through(broker, nil); got != bus.Transport(broker) {
		t.Errorf("%T", got)
	}
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// A transport with middleware keeps what the transport keeps.
func TestThroughKeepsTheContract(t *testing.T) {
	passOn := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error { return next(ctx, env) }
	}
	bustest.Run(t, bustest.Config{Quiet: 20 * time.Millisecond, Patience: time.Minute, NotApplicable: map[string]string{
		"Transport/KeepsUsersConnection": "there is no connection, hence none of the user",
		"Receive/Damaged":                "envelopes are not encoded, so none can be damaged",
	}}, func(testing.TB) bustest.Harness {
		broker := memory.New(nil)
		n := 0
		return bustest.Harness{
			Connect: func(testing.TB) bus.Transport { return bus.Through(broker, passOn) },
			NewTopic: func(tb testing.TB) string {
				n++
				topic := fmt.Sprint("topic-", n)
				must(tb, broker.Declare(topic))
				return topic
			},
			Missing: func(testing.TB) string { return "missing" },
			Cut:     func(testing.TB) { broker.Cut() }, Restore: func(testing.TB) { broker.Restore() },
			Kill:         func(tb testing.TB, _ bus.Transport, src bus.Source) { must(tb, broker.Kill(src)) },
			Revoke:       func(tb testing.TB, _ bus.Transport, src bus.Source) { must(tb, broker.Revoke(src)) },
			HoldConfirms: func(testing.TB) func() { return hold(broker) },
			Refused:      func(testing.TB) bus.Transport { return bus.Through(memory.New(&memory.Options{MaxBody: -1}), passOn) },
		}
	})
}
