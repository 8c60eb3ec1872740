// Package flowtest plays flows at random: participants, and a network that delays, repeats, reorders and loses. What is true is
// known here, apart from what the flow's state says, and compared with it at the end. It is for tests.
package flowtest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	fp "github.com/sixfold-go/sixfold/internal/flowplan"
)

// A Machine is what is tested: it runs one instance of World.Root, and tells the World with Sent, Armed and the like what it did.
type Machine interface {
	// Reply gives it the reply to the command of that id, and Due a timer. They answer whether it counted.
	Reply(f Flying) bool
	Due(f Flying) bool
	// Operate has a person do something, and answers whether that was taken.
	Operate(what fp.What) bool
	// Phase it is in.
	Phase() fp.Phase
	// State as text, to compare and to show.
	State() string
}

// World is a flow with its participants.
type World struct {
	T    testing.TB
	Rng  *rand.Rand
	Root *fp.Part
	Plan *fp.Plan

	air     []Flying
	parts   map[string]*participant
	taken   map[string]bool
	now     int // counts what happened
	log     []string
	reopens int
}

// Flying is a command, a reply or a timer on its way.
type Flying struct {
	// ID of the command, or of the one that is answered, or of the timer.
	ID string
	// N is a number of its own.
	N int
	fp.Ref
	What fp.What

	command bool
	copies  int
}

// participant carries one step out, and keeps to what is asked of participants: each command once, no Do behind an Undo.
type participant struct {
	step         *fp.Step
	silent       bool // it may leave questions unanswered
	seen         map[string]bool
	done, undone bool

	began, completed, undoBegan, undoEnded int // when; 0: not
	balance                                int
}

// New makes a World of a random flow of n steps.
func New(t testing.TB, seed uint64) *World {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 6))
	w := &World{T: t, Rng: rng, Root: randomFlow(rng, 2+rng.IntN(7)), parts: map[string]*participant{}, taken: map[string]bool{}}
	w.log = append(w.log, fmt.Sprint("seed ", seed))
	var err error
	if w.Plan, err = fp.Compile(w.Root); err != nil {
		t.Fatal(err)
	}
	for _, s := range w.Plan.Steps() {
		w.parts[s.Path] = &participant{step: s, silent: s.Do.Within > 0 && (s.Undo == nil || s.Undo.Within > 0 || !s.Undo.Answered), seen: map[string]bool{}}
	}
	return w
}

// Cond decides a condition, the same way whenever it is asked.
func (w *World) Cond(path string) bool {
	if _, asked := w.taken[path]; !asked {
		w.taken[path] = w.Rng.IntN(2) == 0
	}
	return w.taken[path]
}

// Bad ends the test with all that happened.
func (w *World) Bad(m Machine, format string, args ...any) {
	w.T.Helper()
	w.T.Fatalf("%s\nafter:\n%s\nstate: %s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"), m.State())
}

func (w *World) note(format string, args ...any) int {
	w.now++
	w.log = append(w.log, fmt.Sprintf("%d ", w.now)+fmt.Sprintf(format, args...))
	return w.now
}

// Sent tells that a command was written.
func (w *World) Sent(id string, r fp.Ref) {
	now := w.note("sent %+v", r)
	w.air = append(w.air, Flying{ID: id, Ref: r, command: true, copies: 1 + w.Rng.IntN(2)})
	p := w.parts[r.Step]
	if r.Undo {
		if p.undoBegan == 0 {
			p.undoBegan = now
		}
		if !p.step.Undo.Answered {
			p.undoEnded = now
		}
		return
	}
	if p.began == 0 {
		p.began = now
	}
	if !p.step.Do.Answered {
		p.completed = now
	}
}

// Armed tells that a timer was set.
func (w *World) Armed(id string, r fp.Ref, again bool) {
	what := fp.TimeUp
	if again {
		what = fp.TryAgain
	}
	w.note("timer %+v", r)
	w.air = append(w.air, Flying{ID: id, Ref: r, What: what, copies: 1 + w.Rng.IntN(2)})
}

// Cancelled tells that a timer was cancelled. It may be on its way already.
func (w *World) Cancelled(id string) {
	i := slices.IndexFunc(w.air, func(f Flying) bool { return f.ID == id })
	if i >= 0 && w.Rng.IntN(2) == 0 {
		w.air = slices.Delete(w.air, i, i+1)
	}
}

// Run brings an instance that has begun to its end, with people who interfere, and looks at what became of it.
func (w *World) Run(m Machine) fp.Phase {
	w.T.Helper()
	for try := 0; ; try++ {
		phase := m.Phase()
		if try > 5000 {
			w.Bad(m, "it comes to no end")
		}
		if phase == fp.Stuck && w.reopens < 2 && w.Rng.IntN(2) == 0 {
			what := []fp.What{fp.Retry, fp.Resume}[w.Rng.IntN(2)]
			w.note("a person: %v", what)
			if m.Operate(what) {
				w.reopens++
				continue
			}
		}
		if phase.Ended() {
			break
		}
		if w.Rng.IntN(60) == 0 {
			w.note("a person cancels")
			m.Operate(fp.Cancel)
			continue
		}
		if !w.deliver(m) {
			w.Bad(m, "it is %s and nothing is on its way", phase)
		}
	}
	end := m.State()
	for w.deliver(m) { // what is late
	}
	if m.State() != end {
		w.Bad(m, "it had ended as\n%s", end)
	}
	w.check(m)
	return m.Phase()
}

// deliver brings something of what is on its way, and reports whether there was anything.
func (w *World) deliver(m Machine) bool {
	if len(w.air) == 0 {
		return false
	}
	i := w.Rng.IntN(len(w.air))
	f := w.air[i]
	if w.air[i].copies--; w.air[i].copies == 0 {
		w.air = slices.Delete(w.air, i, i+1)
	}
	if f.command {
		w.carryOut(f)
		return true
	}
	now := w.note("event %v %+v", f.What, f.Ref)
	before, phase := m.State(), m.Phase()
	counted := false
	if f.What == fp.TimeUp || f.What == fp.TryAgain {
		counted = m.Due(f)
	} else {
		counted = m.Reply(f)
	}
	w.log[len(w.log)-1] += fmt.Sprintf(" (the last of them counted: %t)", counted)
	switch {
	case !counted && m.State() != before:
		w.Bad(m, "an event that does not count changed the state from\n%s", before)
	case counted && phase.Ended():
		w.Bad(m, "the instance was %s and %+v counted", phase, f)
	case counted && f.What == fp.Succeeded && f.Undo:
		w.parts[f.Step].undoEnded = now
	case counted && f.What == fp.Succeeded:
		w.parts[f.Step].completed = now
	}
	return true
}

// carryOut has a participant handle a command, once.
func (w *World) carryOut(f Flying) {
	p := w.parts[f.Step]
	if p.seen[f.ID] {
		return
	}
	p.seen[f.ID] = true
	answered, what := p.step.Do.Answered, fp.Succeeded
	chance := w.Rng.IntN(10)
	if f.Undo {
		answered = p.step.Undo.Answered
		if chance < 2 && answered {
			what = fp.Unable
		} else {
			p.undone, p.balance = true, 0
		}
	} else if !p.done {
		switch {
		case p.undone:
			what = fp.Refused // the tombstone
		case chance < 2 && answered:
			what = fp.Refused
		case chance < 3 && answered:
			what = fp.Unable
		default:
			p.done = true
			p.balance++
		}
	}
	if !answered || p.silent && w.Rng.IntN(4) == 0 {
		return
	}
	n := w.note("%+v is answered with %v", f.Ref, what)
	w.air = append(w.air, Flying{ID: f.ID, N: n, Ref: f.Ref, What: what, copies: 1 + w.Rng.IntN(2)})
}
