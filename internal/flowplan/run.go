package flowplan

import (
	"cmp"
	"slices"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// Conditions answers whether what a condition holds is to be done. It is asked once for each condition that is reached.
type Conditions func(path string) bool

// Begin starts an instance and answers what is to be done, in this order. st has to be the zero value.
func (p *Plan) Begin(st *State, cond Conditions) []Effect {
	st.Phase = Running
	r := run{plan: p, st: st, cond: cond}
	r.forward()
	return r.effects
}

// Judge says what an event is worth, and changes nothing.
func (p *Plan) Judge(st *State, ev Event) Verdict {
	switch ev.What {
	case Cancel:
		switch {
		case st.Phase == Stuck || st.Phase == Running && st.Pivoted:
			return PastPivot
		case st.Phase != Running:
			return Ended
		}
		return Taken
	case Retry, Resume:
		return p.judgeOperator(st, ev)
	}
	g := st.Steps[ev.Step]
	step := p.byPath[ev.Step]
	if g == nil || step == nil || step.command(ev.Undo) == nil {
		return Foreign
	}
	t := g.tries(ev.Undo)
	if ev.Attempt < 1 || ev.Attempt > t.N {
		return Foreign
	}
	if st.Phase.Ended() {
		return Ended
	}
	open, pausing := Open, Pausing
	if ev.Undo {
		open, pausing = Undoing, UndoPausing
	}
	current := ev.Attempt == t.N
	var waits bool
	switch ev.What {
	case Succeeded: // also that of an earlier attempt: the step is done, whichever did it
		waits = g.Status == open || g.Status == pausing
	case Refused, Unable, TimeUp:
		waits = g.Status == open && current
	case TryAgain:
		waits = g.Status == pausing && current
	}
	if !waits {
		return Late
	}
	return Taken
}

func (p *Plan) judgeOperator(st *State, ev Event) Verdict {
	if st.Phase == Completed || st.Phase == Compensated {
		return Ended
	}
	if ev.Step == "" {
		if st.Phase != Stuck {
			return NotStuck
		}
		return Taken
	}
	g := st.Steps[ev.Step]
	switch {
	case g == nil || p.byPath[ev.Step] == nil:
		return Foreign
	case g.Status == Halted:
		return Taken
	case ev.What == Retry && slices.Contains([]Status{Open, Pausing, Undoing, UndoPausing}, g.Status):
		return Taken
	}
	return NotStuck
}

// Apply changes st by an event that is Taken, and answers what is to be done, in this order. What is not Taken changes
// nothing.
func (p *Plan) Apply(st *State, ev Event, cond Conditions) []Effect {
	if p.Judge(st, ev) != Taken {
		return nil
	}
	r := run{plan: p, st: st, cond: cond}
	switch ev.What {
	case Cancel:
		r.compensate()
	case Retry, Resume:
		r.operator(ev)
	default:
		r.happened(ev)
	}
	return r.effects
}

// run is one event at work.
type run struct {
	plan    *Plan
	st      *State
	cond    Conditions
	effects []Effect
}

func (r *run) tick() int {
	r.st.Tick++
	return r.st.Tick
}

// happened is a reply or a timer that counts.
func (r *run) happened(ev Event) {
	step, g := r.plan.byPath[ev.Step], r.st.Steps[ev.Step]
	t, cmd := g.tries(ev.Undo), step.command(ev.Undo)
	r.disarm(ev.Ref, t, ev.What == TimeUp || ev.What == TryAgain)
	switch ev.What {
	case Succeeded:
		r.succeed(step, g, ev.Undo)
		return
	case TryAgain:
		r.send(step, g, ev.Undo)
		return
	case TimeUp:
		g.Doubt = g.Doubt || !ev.Undo
	}
	final := ev.What == Refused && !ev.Undo && !step.after // an answer of the business, which no repetition changes
	if !final && t.N-t.Forgiven < cmd.Attempts {
		r.pause(step, g, ev.Undo)
		return
	}
	switch {
	case ev.Undo || step.after:
		g.Status = Halted
		r.halt()
	default:
		g.Status = Failed // InDoubt is set by compensate
		r.compensate()
	}
}

// succeed ends one direction of a step.
func (r *run) succeed(step *Step, g *Progress, undo bool) {
	if undo {
		g.Status = Undone
		r.back()
		return
	}
	g.Status, g.Ended = Done, r.tick()
	r.forward()
}

// disarm forgets the timer of an attempt, and cancels it unless it is the one that came.
func (r *run) disarm(ref Ref, t *Tries, came bool) {
	if t.Timer != "" && !came {
		r.effects = append(r.effects, Effect{Kind: CancelTimer, Ref: ref, Timer: t.Timer})
	}
	t.Timer = ""
}

// pause waits for the time of the next attempt.
func (r *run) pause(step *Step, g *Progress, undo bool) {
	cmd, t := step.command(undo), g.tries(undo)
	if cmd.Delay == nil {
		r.send(step, g, undo)
		return
	}
	after := cmd.Delay(t.N - t.Forgiven)
	if after <= 0 {
		r.send(step, g, undo)
		return
	}
	if g.Status = Pausing; undo {
		g.Status = UndoPausing
	}
	r.effects = append(r.effects, Effect{Kind: SetTimer, Ref: Ref{step.Path, undo, t.N}, After: after, Again: true})
}

// send makes the next attempt.
func (r *run) send(step *Step, g *Progress, undo bool) {
	cmd, t := step.command(undo), g.tries(undo)
	t.N++
	ref := Ref{step.Path, undo, t.N}
	r.effects = append(r.effects, Effect{Kind: Send, Ref: ref})
	switch {
	case cmd.Answered && undo:
		g.Status = Undoing
	case cmd.Answered:
		g.Status = Open
	case undo:
		g.Status = Undone
	default:
		g.Status, g.Ended = Done, r.tick()
	}
	if cmd.Within > 0 {
		r.effects = append(r.effects, Effect{Kind: SetTimer, Ref: ref, After: cmd.Within})
	}
}

// forward starts what may start now, and completes the instance when all is done.
func (r *run) forward() {
	if r.st.Phase != Running {
		return
	}
	if r.walk(r.plan.root) {
		r.finish(Completed)
		return
	}
	r.halt()
}

// walk starts what may start in a part, and reports whether the part is done.
func (r *run) walk(n *node) bool {
	switch n.kind {
	case Task:
		g := r.st.Steps[n.path]
		if g == nil {
			g = &Progress{Begun: r.tick()}
			if r.st.Steps == nil {
				r.st.Steps = map[string]*Progress{}
			}
			r.st.Steps[n.path] = g
			r.send(n.step, g, false)
		}
		return g.Status == Done
	case Pivot:
		r.st.Pivoted = true
		return true
	case Parallel:
		done := true
		for _, branch := range n.nodes {
			done = r.walk(branch) && done
		}
		return done
	case Condition:
		taken, known := r.st.Taken[n.path]
		if !known {
			taken = r.cond != nil && r.cond(n.path)
			if r.st.Taken == nil {
				r.st.Taken = map[string]bool{}
			}
			r.st.Taken[n.path] = taken
		}
		if !taken {
			return true
		}
	}
	for _, part := range n.nodes {
		if !r.walk(part) {
			return false
		}
	}
	return true
}

// halt makes the instance stuck when some step is halted and no other one goes on.
func (r *run) halt() {
	halted := false
	for _, g := range r.st.Steps {
		switch g.Status {
		case Open, Pausing, Undoing, UndoPausing:
			return
		case Halted:
			halted = true
		}
	}
	if halted {
		r.finish(Stuck)
	}
}

// compensate turns round: no step waits for its reply any more, and what may have run is undone.
func (r *run) compensate() {
	r.st.Phase = Compensating
	var doubtful []*Step
	for _, step := range r.plan.steps {
		g := r.st.Steps[step.Path]
		if g == nil {
			continue
		}
		switch g.Status {
		case Open:
			g.Doubt = true
		case Pausing, Failed:
			g.Status = Failed
		default:
			continue
		}
		r.disarm(Ref{step.Path, false, g.Do.N}, &g.Do, false)
		if planted.Is(planted.DoubtForgotten) {
			g.Status, g.Doubt = Failed, false
		}
		if g.Doubt {
			g.Status = InDoubt
			doubtful = append(doubtful, step)
		}
	}
	// They may end at any time from now on, so they come behind all that are done, in the order in which they began.
	slices.SortFunc(doubtful, func(a, b *Step) int {
		return cmp.Compare(r.st.Steps[a.Path].Begun, r.st.Steps[b.Path].Begun)
	})
	for _, step := range doubtful {
		r.st.Steps[step.Path].Ended = r.tick()
	}
	r.back()
}

// back undoes one step after the other, the last one first.
func (r *run) back() {
	for {
		var last *Step
		var most *Progress
		for _, step := range r.plan.steps {
			g := r.st.Steps[step.Path]
			if g != nil && (g.Status == Done || g.Status == InDoubt) && (most == nil || (g.Ended > most.Ended) != planted.Is(planted.UndoneForward)) {
				last, most = step, g
			}
		}
		switch {
		case last == nil:
			r.finish(Compensated)
			return
		case last.Undo == nil:
			most.Status = Kept
		default:
			r.send(last, most, true)
			if most.Status != Undone {
				return
			}
		}
	}
}

// operator has stuck steps tried anew, or taken for done.
func (r *run) operator(ev Event) {
	for _, step := range r.plan.steps {
		g := r.st.Steps[step.Path]
		if g == nil || ev.Step != "" && ev.Step != step.Path || ev.Step == "" && g.Status != Halted {
			continue
		}
		undo := g.Undo.N > 0
		t := g.tries(undo)
		if r.st.Phase == Stuck {
			if r.st.Phase = Running; undo {
				r.st.Phase = Compensating
			}
		}
		r.disarm(Ref{step.Path, undo, t.N}, t, false)
		if ev.What == Retry {
			g.Doubt = g.Doubt || g.Status == Open
			t.Forgiven = t.N
			r.send(step, g, undo)
			continue
		}
		if g.Status = Undone; !undo {
			g.Status, g.Ended = Done, r.tick()
		}
	}
	if r.st.Phase == Compensating {
		if !slices.ContainsFunc(r.plan.steps, func(s *Step) bool {
			g := r.st.Steps[s.Path]
			return g != nil && (g.Status == Undoing || g.Status == UndoPausing || g.Status == Halted)
		}) {
			r.back()
		}
		return
	}
	r.forward()
}

// finish ends the instance. No timer runs any more but those of halted steps' neighbours, of which there are none.
func (r *run) finish(phase Phase) {
	r.st.Phase = phase
	r.effects = append(r.effects, Effect{Kind: Finish, Phase: phase})
}
