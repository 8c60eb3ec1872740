package flowplan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	fp "github.com/sixfold-go/sixfold/internal/flowplan"
)

// desk plays a flow by hand: commands and timers are named by the attempt that they are for.
type desk struct {
	t    *testing.T
	plan *fp.Plan
	st   fp.State
}

func play(t *testing.T, root *fp.Part) (*desk, string) {
	t.Helper()
	plan, err := fp.Compile(root)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{t: t, plan: plan}
	return d, d.tell(plan.Begin(&d.st, nil))
}

// tell writes effects as people would.
func (d *desk) tell(effects []fp.Effect) string {
	var all []string
	for _, e := range effects {
		direction := "do"
		if e.Undo {
			direction = "undo"
		}
		id := fmt.Sprintf("%s-%s-%d", direction, e.Step, e.Attempt)
		switch e.Kind {
		case fp.Send:
			d.st.Sent(e.Ref, id)
			all = append(all, id)
		case fp.SetTimer:
			d.st.Armed(e.Ref, "t-"+id)
			all = append(all, fmt.Sprintf("timer %v", e.After))
		case fp.CancelTimer:
			all = append(all, "cancel "+e.Timer)
		case fp.Finish:
			all = append(all, string(e.Phase))
		}
	}
	return strings.Join(all, ", ")
}

// on gives an event for the command of an id, and answers the verdict unless it is taken, else the effects.
func (d *desk) on(what fp.What, command string) string {
	d.t.Helper()
	ref, ok := d.st.Answered(command)
	if !ok {
		return "unknown command"
	}
	return d.event(fp.Event{What: what, Ref: ref})
}

func (d *desk) event(ev fp.Event) string {
	if v := d.plan.Judge(&d.st, ev); v != fp.Taken {
		return v.String()
	}
	return d.tell(d.plan.Apply(&d.st, ev, nil))
}

func (d *desk) want(got, want string) {
	d.t.Helper()
	if got != want {
		d.t.Errorf("got %q, want %q", got, want)
	}
}

func timed(attempts int) func(*fp.Step) {
	return func(s *fp.Step) {
		s.Do = fp.Command{Answered: true, Within: time.Minute, Attempts: attempts, Delay: func(n int) time.Duration { return time.Duration(n) * time.Second }}
		s.Undo = &fp.Command{Answered: true, Within: time.Hour, Attempts: attempts}
	}
}

// A step that timed out may have run, so it is undone first; its late success changes nothing. guarantees: S3, S4
func TestTimedOutStepIsUndone(t *testing.T) {
	d, got := play(t, seq(task("a"), task("b", timed(1)), task("c")))
	d.want(got, "do-a-1")
	d.want(d.on(fp.Succeeded, "do-a-1"), "do-b-1, timer 1m0s")
	d.want(d.on(fp.Succeeded, "do-a-1"), "late")
	d.want(d.on(fp.TimeUp, "do-b-1"), "undo-b-1, timer 1h0m0s")
	d.want(d.on(fp.Succeeded, "do-b-1"), "late")
	d.want(d.on(fp.TimeUp, "do-b-1"), "late")
	d.want(d.on(fp.Succeeded, "undo-b-1"), "cancel t-undo-b-1, undo-a-1")
	d.want(d.on(fp.Succeeded, "undo-a-1"), "compensated")
	d.want(d.on(fp.Succeeded, "undo-a-1"), "ended")
	d.want(d.on(fp.Succeeded, "nobody's"), "unknown command")
	d.want(d.event(fp.Event{What: fp.Cancel}), "ended")
	d.want(d.event(fp.Event{What: fp.Retry}), "ended")
}

// What was refused took no effect and is not undone, unless an earlier attempt of it was never answered. guarantees: S3
func TestRefusedStepIsNotUndone(t *testing.T) {
	d, _ := play(t, seq(task("a"), task("b", timed(3))))
	d.on(fp.Succeeded, "do-a-1")
	d.want(d.on(fp.Refused, "do-b-1"), "cancel t-do-b-1, undo-a-1")

	d, _ = play(t, seq(task("a"), task("b", timed(3))))
	d.on(fp.Succeeded, "do-a-1")
	d.want(d.on(fp.TimeUp, "do-b-1"), "timer 1s")
	d.want(d.on(fp.TryAgain, "do-b-1"), "do-b-2, timer 1m0s")
	d.want(d.on(fp.TryAgain, "do-b-1"), "late")
	d.want(d.on(fp.Refused, "do-b-1"), "late")
	d.want(d.on(fp.Refused, "do-b-2"), "cancel t-do-b-2, undo-b-1, timer 1h0m0s")
}

// The time limit of an attempt says nothing about the next one. Traps: StaleTimerDropped. guarantees: S4
func TestTimerOfAnEarlierAttempt(t *testing.T) {
	d, _ := play(t, seq(task("a", timed(3))))
	d.want(d.on(fp.Unable, "do-a-1"), "cancel t-do-a-1, timer 1s")
	d.want(d.on(fp.TimeUp, "do-a-1"), "late")
	d.want(d.on(fp.TryAgain, "do-a-1"), "do-a-2, timer 1m0s")
	d.want(d.on(fp.TimeUp, "do-a-1"), "late")
	d.want(d.on(fp.TimeUp, "do-a-2"), "timer 2s")
	d.want(d.on(fp.TryAgain, "do-a-1"), "late")
	d.want(d.on(fp.TryAgain, "do-a-2"), "do-a-3, timer 1m0s")
	d.want(d.on(fp.TimeUp, "do-a-3"), "undo-a-1, timer 1h0m0s")
}

// A success counts whichever attempt it answers: the step is done.
func TestSuccessOfAnEarlierAttempt(t *testing.T) {
	for _, when := range []string{"pausing", "open again"} {
		d, _ := play(t, seq(task("a", timed(2)), task("b")))
		d.on(fp.TimeUp, "do-a-1")
		cancelled := "t-do-a-1"
		if when == "open again" {
			d.on(fp.TryAgain, "do-a-1")
			cancelled = "t-do-a-2"
		}
		d.want(d.on(fp.Succeeded, "do-a-1"), "cancel "+cancelled+", do-b-1")
		d.want(d.on(fp.Succeeded, "do-a-2"), map[string]string{"pausing": "unknown command", "open again": "late"}[when])
	}
}

// A branch that fails has the others undone too: one after the other, what was left in doubt first. guarantees: S3
func TestParallelBranches(t *testing.T) {
	d, got := play(t, seq(part(fp.Parallel, "p", task("a"), task("b"), task("c", timed(1)), task("d")), task("z")))
	d.want(got, "do-p/a-1, do-p/b-1, do-p/c-1, timer 1m0s, do-p/d-1")
	d.want(d.on(fp.Succeeded, "do-p/b-1"), "")
	d.want(d.on(fp.Succeeded, "do-p/a-1"), "")
	d.want(d.on(fp.Refused, "do-p/d-1"), "cancel t-do-p/c-1, undo-p/c-1, timer 1h0m0s")
	d.want(d.on(fp.Succeeded, "undo-p/c-1"), "cancel t-undo-p/c-1, undo-p/a-1")
	d.want(d.on(fp.Succeeded, "undo-p/a-1"), "undo-p/b-1")
	d.want(d.on(fp.Succeeded, "undo-p/b-1"), "compensated")
}

// What is left in doubt is undone in reverse of the order in which it began, wherever it is written. guarantees: S3
func TestSeveralInDoubt(t *testing.T) {
	d, got := play(t, part(fp.Parallel, "p", part(fp.Sequence, "q", task("x"), task("a")), task("b"), task("c"), task("d")))
	d.want(got, "do-p/q/x-1, do-p/b-1, do-p/c-1, do-p/d-1")
	d.want(d.on(fp.Succeeded, "do-p/q/x-1"), "do-p/q/a-1")
	d.want(d.on(fp.Refused, "do-p/d-1"), "undo-p/q/a-1")
	d.want(d.on(fp.Succeeded, "undo-p/q/a-1"), "undo-p/c-1")
	d.want(d.on(fp.Succeeded, "undo-p/c-1"), "undo-p/b-1")
	d.want(d.on(fp.Succeeded, "undo-p/b-1"), "undo-p/q/x-1")
	d.want(d.on(fp.Succeeded, "undo-p/q/x-1"), "compensated")
}

// Behind the pivot there is no way back: what is refused is tried again, then the instance is stuck and waits for people,
// when its other branches have done what they can.
func TestBehindThePivot(t *testing.T) {
	again := func(s *fp.Step) { s.Undo, s.Do.Attempts = nil, 2 }
	d, _ := play(t, seq(task("a"), pivot(), part(fp.Parallel, "p", task("b", again), task("c", again)), task("d", again)))
	d.want(d.event(fp.Event{What: fp.Retry}), "not stuck")
	d.want(d.on(fp.Succeeded, "do-a-1"), "do-p/b-1, do-p/c-1")
	d.want(d.event(fp.Event{What: fp.Cancel}), "past the pivot")
	d.want(d.on(fp.Refused, "do-p/b-1"), "do-p/b-2")
	d.want(d.on(fp.Refused, "do-p/b-2"), "")
	d.want(d.on(fp.Succeeded, "do-p/c-1"), "stuck")
	d.want(d.on(fp.Succeeded, "do-p/b-2"), "ended")
	d.want(d.event(fp.Event{What: fp.Cancel}), "past the pivot")
	if at := d.st.At(); !slices.Equal(at, []string{"p/b"}) {
		t.Errorf("it is at %v", at)
	}
	d.want(d.event(fp.Event{What: fp.Retry}), "do-p/b-3")
	d.want(d.on(fp.Refused, "do-p/b-3"), "do-p/b-4")
	d.want(d.on(fp.Refused, "do-p/b-4"), "stuck")
	d.want(d.event(fp.Event{What: fp.Resume}), "do-d-1")
	d.want(d.on(fp.Succeeded, "do-d-1"), "completed")
}

// What people have tried again waits between its attempts as it did at first.
func TestPausesBeginAgain(t *testing.T) {
	d, _ := play(t, seq(task("a"), pivot(), task("b", timed(2), func(s *fp.Step) { s.Undo = nil })))
	d.on(fp.Succeeded, "do-a-1")
	d.want(d.on(fp.Unable, "do-b-1"), "cancel t-do-b-1, timer 1s")
	d.on(fp.TryAgain, "do-b-1")
	d.want(d.on(fp.Unable, "do-b-2"), "cancel t-do-b-2, stuck")
	d.want(d.event(fp.Event{What: fp.Retry}), "do-b-3, timer 1m0s")
	d.want(d.on(fp.Unable, "do-b-3"), "cancel t-do-b-3, timer 1s")
	d.on(fp.TryAgain, "do-b-3")
	d.want(d.on(fp.TimeUp, "do-b-4"), "stuck")
}

// An Undo that uses up its attempts leaves the instance stuck, with what is before it not undone, until people act.
func TestStuckOnTheWayBack(t *testing.T) {
	d, _ := play(t, seq(task("a"), task("b", timed(2)), task("c")))
	d.on(fp.Succeeded, "do-a-1")
	d.on(fp.Succeeded, "do-b-1")
	d.want(d.on(fp.Refused, "do-c-1"), "undo-b-1, timer 1h0m0s")
	d.want(d.on(fp.TimeUp, "undo-b-1"), "undo-b-2, timer 1h0m0s")
	d.want(d.on(fp.Unable, "undo-b-2"), "cancel t-undo-b-2, stuck")
	d.want(d.event(fp.Event{What: fp.Retry}), "undo-b-3, timer 1h0m0s")
	d.want(d.on(fp.Unable, "undo-b-3"), "cancel t-undo-b-3, undo-b-4, timer 1h0m0s")
	d.want(d.on(fp.TimeUp, "undo-b-4"), "stuck")
	d.want(d.event(fp.Event{What: fp.Resume}), "undo-a-1")
	d.want(d.on(fp.Succeeded, "undo-a-1"), "compensated")
}

// Cancelling undoes what is done and what is open. Somebody who knows that a reply will not come may have the step tried at once.
func TestPeople(t *testing.T) {
	d, _ := play(t, seq(task("a", timed(3)), task("b")))
	d.want(d.event(fp.Event{What: fp.Retry, Ref: fp.Ref{Step: "a"}}), "cancel t-do-a-1, do-a-2, timer 1m0s")
	d.want(d.event(fp.Event{What: fp.Resume, Ref: fp.Ref{Step: "a"}}), "not stuck")
	again, _ := play(t, seq(task("a", timed(3)), task("b")))
	again.event(fp.Event{What: fp.Retry, Ref: fp.Ref{Step: "a"}})
	again.want(again.on(fp.Refused, "do-a-2"), "cancel t-do-a-2, undo-a-1, timer 1h0m0s") // the first may have run
	d.want(d.event(fp.Event{What: fp.Retry, Ref: fp.Ref{Step: "b"}}), "foreign")
	d.want(d.on(fp.Succeeded, "do-a-2"), "cancel t-do-a-2, do-b-1")
	d.want(d.event(fp.Event{What: fp.Retry, Ref: fp.Ref{Step: "a"}}), "not stuck")
	d.want(d.event(fp.Event{What: fp.Cancel}), "undo-b-1")
	d.want(d.event(fp.Event{What: fp.Cancel}), "ended")
	d.want(d.on(fp.Succeeded, "undo-b-1"), "undo-a-1, timer 1h0m0s")
}

// The state keeps the ids of the last attempts only, however many there are.
func TestStateStaysSmall(t *testing.T) {
	d, _ := play(t, seq(task("a", func(s *fp.Step) { s.Do.Attempts = 1000 })))
	for n := 1; n < 500; n++ {
		d.on(fp.Unable, fmt.Sprintf("do-a-%d", n))
	}
	if n := len(d.st.Steps["a"].Do.Commands); n != 8 {
		t.Errorf("%d ids are kept", n)
	}
	d.want(d.on(fp.Succeeded, "do-a-1"), "unknown command")
	d.want(d.on(fp.Succeeded, "do-a-493"), "completed")
}

// A program that does not know a step which an instance has begun says so, and guesses nothing. guarantees: S6
func TestCheckOfAnotherPlan(t *testing.T) {
	d, _ := play(t, seq(task("a"), task("b")))
	if err := d.plan.Check(&d.st); err != nil {
		t.Error(err)
	}
	other, err := fp.Compile(seq(task("b")))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Check(&d.st); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("the error is %v", err)
	}
}
