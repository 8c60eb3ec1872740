package sixfoldtest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

type (
	Ordered struct{ Number string }
	Task    struct{ Number, Step string }
	Untask  struct{ Number, Step string }
	Tasked  struct{ Number string }
	Refused struct{ Number string }
	Undone  struct{ Number, Step string }
)

func (Ordered) MessageName() string { return "trip.ordered" }
func (Task) MessageName() string    { return "trip.task" }
func (Untask) MessageName() string  { return "trip.untask" }
func (Tasked) MessageName() string  { return "trip.tasked" }
func (Refused) MessageName() string { return "trip.refused" }
func (Undone) MessageName() string  { return "trip.undone" }

func (m Ordered) Key() string { return m.Number }
func (m Tasked) Key() string  { return m.Number }
func (m Refused) Key() string { return m.Number }
func (m Undone) Key() string  { return m.Number }

type trip struct {
	Number string
	Done   int
}

// trips is a flow of three steps with a minute each.
func trips(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
	step := func(name string) flow.Part[trip] {
		return flow.Step(name,
			flow.Do(func(s *trip) Task { return Task{s.Number, name} }),
			flow.Then(Tasked.Key, func(s *trip, _ Tasked) error { s.Done++; return nil }),
			flow.Refused(Refused.Key, func(*trip, Refused) error { return nil }),
			flow.Undo(func(s *trip) Untask { return Untask{s.Number, name} }, flow.Undone(Undone.Key))).Within(time.Minute)
	}
	return flow.New("trip", box, nil, flow.Begin(Ordered.Key, func(s *trip, m Ordered) error { s.Number = m.Number; return nil }), step("flight"), step("hotel"), step("car"))
}

func tripRoutes() []outbox.Route {
	return []outbox.Route{outbox.To("agency", Task{}, Untask{}), outbox.ToConsumer("trips", flow.Timer("trip"))}
}

// Given, when, then; also with everything twice, and with a crash before and after each commit.
func TestSagaByHand(t *testing.T) {
	for _, how := range []struct{ doubled, crashing bool }{{}, {doubled: true}, {crashing: true}, {true, true}} {
		t.Run(fmt.Sprintf("%+v", how), func(t *testing.T) {
			s := sixfoldtest.Saga(t, trips, tripRoutes()...)
			s.Doubled, s.Crashing = how.doubled, how.crashing
			s.Given(Ordered{"7"})
			s.Answer(Tasked{"7"})
			s.Then(Task{"7", "hotel"})
			hotel := s.Sent()[0]
			s.Is("7", saga.Running)
			if got := sixfoldtest.StateOf[trip](s, "7"); got.Done != 1 {
				t.Errorf("state %+v", got)
			}
			s.Advance(59 * time.Second)
			s.Then()
			s.Advance(2 * time.Second)
			s.Then(Untask{"7", "hotel"})
			s.AnswerTo(hotel, Tasked{"7"}) // late
			s.Then()
			s.AnswerTo(lastOf(t, s), Undone{Number: "7"})
			s.Then(Untask{"7", "flight"})
			s.Answer(Undone{Number: "7"})
			s.Then()
			s.Is("7", saga.Compensated)
			s.Again()
			s.Then()
			s.Advance(time.Hour)
			s.Is("7", saga.Compensated)
		})
	}
}

// lastOf is the last message that was published.
func lastOf(t *testing.T, s *sixfoldtest.Rehearsal) *sixfold.Envelope {
	t.Helper()
	all, err := s.Outbox.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := len(all) - 1; ; i-- {
		if all[i].Envelope.Type == (Untask{}).MessageName() {
			return all[i].Envelope
		}
	}
}

// stepOf is the step that a command is for.
func stepOf(t testing.TB, env *sixfold.Envelope) string {
	t.Helper()
	var m struct{ Step string }
	if err := json.Unmarshal(env.Body, &m); err != nil {
		t.Fatal(err)
	}
	return m.Step
}

// Whatever the agency answers, whenever and however often: the trip is booked, or all of it is undone, last step first.
// guarantees: S2, S3, S4
func TestSagaExplored(t *testing.T) {
	ends := map[saga.Status]int{}
	sixfoldtest.Explore(t, sixfoldtest.Exploration{Define: trips, Routes: tripRoutes(), Begin: Ordered{"7"}, Key: "7", Runs: 200,
		Answer: func(r *rand.Rand, sent *sixfold.Envelope) []sixfold.Message {
			switch {
			case sent.Type == (Untask{}).MessageName():
				return []sixfold.Message{Undone{Number: "7"}}
			case r.IntN(5) == 0:
				return []sixfold.Message{Refused{"7"}}
			case r.IntN(8) == 0:
				return nil
			}
			return []sixfold.Message{Tasked{"7"}}
		},
		Check: func(t testing.TB, s *sixfoldtest.Rehearsal, sent []*sixfold.Envelope) {
			ends[s.Instance("7").Status]++
			var did, undid []string
			for _, env := range sent {
				if step := stepOf(t, env); env.Type == (Task{}).MessageName() {
					did = append(did, step)
				} else if len(undid) == 0 || undid[len(undid)-1] != step {
					undid = append(undid, step)
				}
			}
			slices.Reverse(undid)
			if s.Instance("7").Status == saga.Compensated && !strings.HasPrefix(strings.Join(did, " "), strings.Join(undid, " ")) {
				t.Errorf("did %v, undid in reverse %v", did, undid)
			}
		}})
	if ends[saga.Completed] == 0 || ends[saga.Compensated] == 0 {
		t.Errorf("the runs ended as %v", ends)
	}
}

// The event form; a step that fails has no effect.
func TestSagaThatFails(t *testing.T) {
	s := sixfoldtest.Saga(t, func(box *saga.Box[*memory.Tx]) (sixfoldtest.Conversation, error) {
		return saga.Define("count", box,
			saga.StartedBy(Ordered.Key, func(_ context.Context, _ *memory.Tx, s *trip, m Ordered, fx *saga.Effects) error {
				s.Number = m.Number
				fx.Send(Task{m.Number, "count"})
				return nil
			}),
			saga.On(Refused.Key, func(context.Context, *memory.Tx, *trip, Refused, *saga.Effects) error { return fmt.Errorf("no") }))
	}, tripRoutes()...)
	s.When(Ordered{"7"})
	s.Then(Task{"7", "count"})
	if err := s.Try(Refused{"7"}); err == nil {
		t.Error("the step did not fail")
	}
	s.Is("7", saga.Running)
	if s.Instance("8") != nil {
		t.Error("there is an instance 8")
	}
}
