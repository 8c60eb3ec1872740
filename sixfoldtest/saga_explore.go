package sixfoldtest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/store/memory"
)

// Exploration is how Explore goes about it.
type Exploration struct {
	// Define and Routes are those of Saga.
	Define func(box *saga.Box[*memory.Tx]) (Conversation, error)
	Routes []outbox.Route
	// Begin begins an instance of Key.
	Begin sixfold.Message
	Key   string
	// Answer is what the one whom a message is for answers: nothing, one or several messages. It draws from r, so that the run can be
	// repeated.
	Answer func(r *rand.Rand, sent *sixfold.Envelope) []sixfold.Message
	// Check, if not nil, looks at the instance when a run has ended, and at all that was sent in it, in order.
	Check func(t testing.TB, s *Rehearsal, sent []*sixfold.Envelope)
	// Runs is how many runs there are. 0: 1000.
	Runs int
	// MaxSteps bounds a run: one that is longer fails. 0: 1000.
	MaxSteps int
}

// Explore runs a saga again and again, with answers that come late, twice, in another order or not at all, timers that are due before
// them, and transactions that are rolled back at their end. Each run has to come to one end (completed, failed, compensated, cancelled or
// stuck), and all that was said in it, said again, must not change that. The seed of a run that fails is in its name.
func Explore(t *testing.T, x Exploration) {
	t.Helper()
	if x.Define == nil || x.Begin == nil || x.Answer == nil || x.Runs < 0 || x.MaxSteps < 0 {
		t.Fatalf("sixfoldtest: explore: Define, Begin and Answer have to be there, and Runs (%d) and MaxSteps (%d) may not be negative, or nothing would be shown", x.Runs, x.MaxSteps)
	}
	runs, most := x.Runs, x.MaxSteps
	if runs == 0 {
		runs = 1000
	}
	if most == 0 {
		most = 1000
	}
	for seed := range runs {
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { x.run(t, rand.New(rand.NewPCG(uint64(seed), 0)), most) }) {
			return
		}
	}
}

func (x *Exploration) run(t *testing.T, r *rand.Rand, most int) {
	s := Saga(t, x.Define, x.Routes...)
	s.Crashing, s.Doubled = r.IntN(2) == 0, r.IntN(2) == 0
	var all, open []*sixfold.Envelope // what was sent; what is on its way to the saga
	hear := func() {
		for _, env := range s.Sent() {
			all = append(all, env)
			for _, m := range x.Answer(r, env) {
				open = append(open, s.Reply(env, m))
			}
		}
	}
	s.When(x.Begin)
	hear()
	for step := 0; len(open) > 0 || len(s.timers) > 0; step++ {
		if step == most {
			t.Fatalf("saga %s goes on after %d steps", s.name, most)
		}
		s.sent = nil
		switch {
		case len(s.timers) > 0 && (len(open) == 0 || r.IntN(8) == 0):
			s.fire()
		case len(s.told) > 0 && r.IntN(6) == 0: // once more, whenever it was
			s.must("step", s.Deliver(s.told[r.IntN(len(s.told))]))
		default:
			i := 0
			if r.IntN(3) == 0 {
				i = r.IntN(len(open))
			}
			env := open[i]
			open = append(open[:i], open[i+1:]...)
			s.must("step", s.Deliver(env))
		}
		hear()
	}
	in := s.Instance(x.Key)
	if in == nil {
		t.Fatalf("saga %s has no instance %q", s.name, x.Key)
	}
	if !in.Status.Ended() {
		t.Fatalf("nothing is on its way any more, and instance %q of saga %s is %v; is there a step without a time limit?", x.Key, s.name, in.Status)
	}
	s.Again()
	if after := s.Instance(x.Key); after.Status != in.Status || len(s.Sent()) > 0 {
		t.Fatalf("instance %q of saga %s was %v; when all was said again it is %v, and has sent %d messages", x.Key, s.name, in.Status, after.Status, len(s.Sent()))
	}
	if x.Check != nil {
		x.Check(t, s, all)
	}
}
