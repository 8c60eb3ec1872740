package sixfoldtest_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// watched counts how often the routes of a conversation are called.
type watched struct {
	sixfoldtest.Conversation
	calls *int
}

func (w watched) Routes() []sixfold.Route {
	rs := w.Conversation.Routes()
	for i := range rs {
		handle := rs[i].Handle
		rs[i].Handle = func(ctx context.Context, env *sixfold.Envelope) error {
			*w.calls++
			return handle(ctx, env)
		}
	}
	return rs
}

type (
	Patience struct{ Number string }
	Mail     struct{ Number string }
)

func (Patience) MessageName() string { return "trip.patience" }
func (Mail) MessageName() string     { return "trip.mail" }

// log is the state of the sagas here: what they heard, in order.
type log struct{ Heard []string }

// threeTasks asks for three things at once and is done when all are answered, or when a minute has passed.
func threeTasks(box *saga.Box[*memory.Tx], run func()) (*saga.Saga[*memory.Tx, log], error) {
	return saga.Define("trip", box,
		saga.StartedBy(Ordered.Key, func(_ context.Context, _ *memory.Tx, s *log, m Ordered, fx *saga.Effects) error {
			run()
			for _, step := range []string{"a", "b", "c"} {
				fx.Send(Task{m.Number, step})
			}
			fx.Send(Mail(m), outbox.Delay(time.Hour))
			fx.After(time.Minute, Patience(m))
			return nil
		}),
		saga.On(func(m Undone) string { return m.Number }, func(_ context.Context, _ *memory.Tx, s *log, m Undone, fx *saga.Effects) error {
			run()
			if s.Heard = append(s.Heard, m.Step); len(s.Heard) == 3 {
				fx.Complete()
			}
			return nil
		}),
		saga.On(Refused.Key, func(context.Context, *memory.Tx, *log, Refused, *saga.Effects) error { return errors.New("no") }),
		saga.OnTimeout(func(_ context.Context, _ *memory.Tx, s *log, _ Patience, fx *saga.Effects) error {
			run()
			s.Heard = append(s.Heard, "time")
			fx.Fail("it took too long")
			return nil
		}))
}

func threeRoutes() []outbox.Route {
	return []outbox.Route{outbox.To("agency", Task{}, Mail{}), outbox.ToConsumer("trips", Patience{})}
}

// Each message comes as often as the test says, and what crashes is rolled back.
func TestSagaComesTwiceAndCrashes(t *testing.T) {
	for _, how := range []struct {
		doubled, crashing bool
		calls, runs       int
	}{{false, false, 1, 1}, {true, false, 2, 1}, {false, true, 3, 2}, {true, true, 3, 2}} {
		t.Run(fmt.Sprintf("%+v", how), func(t *testing.T) {
			calls, runs := 0, 0
			s := sixfoldtest.Saga(t, func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
				c, err := threeTasks(box, func() { runs++ })
				return watched{c, &calls}, err
			}, threeRoutes()...)
			s.Doubled, s.Crashing = how.doubled, how.crashing
			s.When(Ordered{"7"})
			if calls != how.calls || runs != how.runs || len(s.Sent()) != 3 {
				t.Errorf("%d calls and %d runs, want %d and %d; %d messages", calls, runs, how.calls, how.runs, len(s.Sent()))
			}
			s.Advance(time.Minute)
			s.Then()
			s.Is("7", saga.Failed)
			if calls != 2*how.calls || runs != 2*how.runs {
				t.Errorf("with the timer %d calls and %d runs", calls, runs)
			}
		})
	}
}

// What is sent with a delay is sent when it is due, whatever became of the saga, and timers of one length come in the order in which they
// were set.
func TestSagaSendsLater(t *testing.T) {
	s := sixfoldtest.Saga(t, func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
		return threeTasks(box, func() {})
	}, threeRoutes()...)
	s.Given(Ordered{"7"}, Ordered{"8"})
	s.Then()
	s.Advance(time.Minute - time.Nanosecond)
	s.Is("7", saga.Running)
	s.Advance(time.Nanosecond)
	s.Is("7", saga.Failed)
	s.Is("8", saga.Failed)
	s.Advance(59*time.Minute - time.Nanosecond)
	s.Then()
	s.Advance(time.Nanosecond)
	s.Then(Mail{"7"}, Mail{"8"})
	s.Advance(time.Hour)
	s.Then()
}

// What a step refused was not taken in, so it is not among what Again says again.
func TestSagaAgainAfterAFailure(t *testing.T) {
	s := sixfoldtest.Saga(t, func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
		return threeTasks(box, func() {})
	}, threeRoutes()...)
	s.Given(Ordered{"7"})
	for _, s.Crashing = range []bool{false, true} {
		if err := s.Try(Refused{"7"}); err == nil || err.Error() != "no" && !strings.HasSuffix(err.Error(), ": no") {
			t.Errorf("the error is %v", err)
		}
	}
	s.Again()
	s.Then()
}

// A timer that sets the next one does so at its own time, however far the test goes at once.
func TestSagaTimersFollowEachOther(t *testing.T) {
	s := sixfoldtest.Saga(t, func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
		return saga.Define("trip", box,
			saga.StartedBy(Ordered.Key, func(_ context.Context, _ *memory.Tx, _ *log, m Ordered, fx *saga.Effects) error {
				fx.After(time.Minute, Patience(m))
				return nil
			}),
			saga.OnTimeout(func(_ context.Context, _ *memory.Tx, s *log, m Patience, fx *saga.Effects) error {
				s.Heard = append(s.Heard, "time")
				fx.Send(Task{m.Number, "again"})
				fx.After(time.Minute, m)
				return nil
			}))
	}, threeRoutes()...)
	s.Given(Ordered{"7"})
	s.Advance(3*time.Minute + 59*time.Second)
	s.Then(Task{"7", "again"}, Task{"7", "again"}, Task{"7", "again"})
	s.Advance(time.Second)
	s.Then(Task{"7", "again"})
	if n := len(sixfoldtest.StateOf[log](s, "7").Heard); n != 4 {
		t.Errorf("in four minutes it was told %d times that one had passed", n)
	}
}

// recorded is a test that takes note of what would fail it.
type recorded struct {
	testing.TB
	said []string
}

func (r *recorded) Helper() {}

func (r *recorded) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorded) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

// What is not as the test says fails it.
func TestSagaAssertionsFail(t *testing.T) {
	r := &recorded{TB: t}
	s := sixfoldtest.Saga(r, func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
		return threeTasks(box, func() {})
	}, threeRoutes()...)
	s.When(Ordered{"7"})
	a, b, c := Task{"7", "a"}, Task{"7", "b"}, Task{"7", "c"}
	s.Then(a, b, c)
	s.Is("7", saga.Running)
	if len(r.said) > 0 {
		t.Fatal(r.said)
	}
	for _, c := range []struct {
		what  string
		fails func()
	}{
		{"another order", func() { s.Then(b, a, c) }}, {"one less", func() { s.Then(a, b) }}, {"one more", func() { s.Then(a, b, c, c) }}, {"nothing", func() { s.Then() }},
		{"another body", func() { s.Then(a, b, Task{"8", "c"}) }}, {"another type", func() { s.Then(a, b, Untask(c)) }},
		{"another status", func() { s.Is("7", saga.Completed) }}, {"no instance", func() { s.Is("8", saga.Running) }},
		{"a failing step", func() { s.When(Refused{"7"}) }}, {"no route", func() { s.When(Tasked{"7"}) }}, {"no state", func() { sixfoldtest.StateOf[log](s, "8") }},
	} {
		r.said = nil
		func() {
			defer func() {
				if p := recover(); p != nil {
					r.said = append(r.said, fmt.Sprint(p))
				}
			}()
			c.fails()
		}()
		if len(r.said) != 1 {
			t.Errorf("%s: it says %q", c.what, r.said)
		}
	}
}

// Explore lets answers come in any order, some before others' timers, some twice, and some transactions are rolled back.
func TestExploreShakes(t *testing.T) {
	orders, timers, rolledBack, repeats := map[string]bool{}, 0, 0, 0
	calls, runs := 0, 0
	sixfoldtest.Explore(t, sixfoldtest.Exploration{Routes: threeRoutes(), Begin: Ordered{"7"}, Key: "7", Runs: 100,
		Define: func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
			calls, runs = 0, 0
			c, err := threeTasks(box, func() { runs++ })
			return watched{c, &calls}, err
		},
		Answer: func(_ *rand.Rand, sent *sixfold.Envelope) []sixfold.Message {
			if sent.Type != (Task{}).MessageName() {
				return nil
			}
			return []sixfold.Message{Undone{"7", stepOf(t, sent)}}
		},
		Check: func(t testing.TB, s *sixfoldtest.Rehearsal, sent []*sixfold.Envelope) {
			heard := sixfoldtest.StateOf[log](s, "7").Heard
			if orders[strings.Join(heard, " ")] = true; slices.Contains(heard, "time") {
				timers++
			}
			if runs > len(heard)+1 {
				rolledBack++
			}
			if !s.Doubled && !s.Crashing && calls > 2*(1+3+1) { // each at most once, and once more at the end
				repeats++
			}
			if n := len(sent); n != 4 {
				t.Errorf("%d messages were sent, want three and a mail", n)
			}
		}})
	if len(orders) < 8 || timers == 0 || rolledBack < 20 || repeats == 0 {
		t.Errorf("%d orders, %d times the timer, %d runs with something rolled back, %d with repeats", len(orders), timers, rolledBack, repeats)
	}
}

// mistake is a saga that Explore has to find, and what it says of it.
type mistake struct {
	says string
	x    sixfoldtest.Exploration
}

func mistakes() map[string]mistake {
	elsewhere := explored(func(_ *log, fx *saga.Effects) { fx.Complete() }, nothing)
	elsewhere.Begin = Ordered{"8"}
	return map[string]mistake{
		"waits for ever": {"is there a step without a time limit", explored(func(_ *log, fx *saga.Effects) { fx.Send(Task{"7", "a"}) }, nothing)},
		"never ends":     {"goes on after 20 steps", explored(func(_ *log, fx *saga.Effects) { fx.Send(Task{"7", "a"}) }, nextTask)},
		"begins nothing": {`has no instance "7"`, elsewhere},
		"counts outside": {"it was counted twice", outside()},
		"no runs":        {"nothing would be shown", sixfoldtest.Exploration{Runs: -1}},
	}
}

func nothing(*rand.Rand, *sixfold.Envelope) []sixfold.Message { return nil }

func nextTask(*rand.Rand, *sixfold.Envelope) []sixfold.Message { return []sixfold.Message{Tasked{"7"}} }

// explored is a saga that does the same at its beginning and at each answer.
func explored(do func(s *log, fx *saga.Effects), answer func(*rand.Rand, *sixfold.Envelope) []sixfold.Message) sixfoldtest.Exploration {
	return sixfoldtest.Exploration{Routes: threeRoutes(), Begin: Ordered{"7"}, Key: "7", Runs: 20, MaxSteps: 20, Answer: answer,
		Define: func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
			return saga.Define("trip", box,
				saga.StartedBy(Ordered.Key, func(_ context.Context, _ *memory.Tx, s *log, _ Ordered, fx *saga.Effects) error {
					do(s, fx)
					return nil
				}),
				saga.On(Tasked.Key, func(_ context.Context, _ *memory.Tx, s *log, _ Tasked, fx *saga.Effects) error { do(s, fx); return nil }))
		}}
}

// outside is a saga that keeps something beside its transaction.
func outside() sixfoldtest.Exploration {
	n := 0
	x := explored(func(_ *log, fx *saga.Effects) { n++; fx.Complete() }, nothing)
	define := x.Define
	x.Define = func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) { n = 0; return define(box) }
	x.Check = func(t testing.TB, _ *sixfoldtest.Rehearsal, _ []*sixfold.Envelope) {
		if n != 1 {
			t.Error("it was counted twice")
		}
	}
	return x
}

// Explore finds what is wrong. It is run in a process of its own, since it fails the test that it is in.
func TestExploreFindsMistakes(t *testing.T) {
	const variable = "SIXFOLD_TEST_MISTAKE"
	if name := os.Getenv(variable); name != "" {
		sixfoldtest.Explore(t, mistakes()[name].x)
		return
	}
	for name, m := range mistakes() {
		t.Run(name, func(t *testing.T) {
			c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestExploreFindsMistakes$")
			c.Env = append(os.Environ(), variable+"="+name)
			out, err := c.CombinedOutput()
			if err == nil || !strings.Contains(string(out), m.says) {
				t.Errorf("%v, and it does not say %q:\n%s", err, m.says, out)
			}
		})
	}
}
