package flowtest

import fp "github.com/sixfold-go/sixfold/internal/flowplan"

// check compares what happened with what may happen. It knows the parts of the flow and the participants, and nothing of the
// state but how it ended.
func (w *World) check(m Machine) {
	w.T.Helper()
	w.order(m, w.Root, "")
	customer := 0
	for path, p := range w.parts {
		customer -= p.balance
		if p.began == 0 && (p.undoBegan != 0 || p.balance != 0) {
			w.Bad(m, "%s was never started, and was undone at %d, balance %d", path, p.undoBegan, p.balance)
		}
		if p.undoBegan != 0 && p.undoBegan < p.began {
			w.Bad(m, "%s was undone before it was started", path)
		}
		if p.balance > 1 {
			w.Bad(m, "%s was done %d times", path, p.balance)
		}
		if p.step.AfterPivot() && p.undoBegan != 0 {
			w.Bad(m, "%s is behind the pivot, and was undone", path)
		}
		// People who say that something was done by hand are believed, and the money is where they left it.
		if w.reopens == 0 {
			for other, q := range w.parts {
				w.reverse(m, path, p, other, q)
			}
			w.balance(m, path, p)
		}
	}
	sum := customer
	for _, p := range w.parts {
		sum += p.balance
	}
	if sum != 0 {
		w.Bad(m, "%d of the money is gone", sum)
	}
}

// balance of one participant when everything has arrived.
func (w *World) balance(m Machine, path string, p *participant) {
	w.T.Helper()
	switch m.Phase() {
	case fp.Compensated:
		if p.step.Undo != nil && p.balance != 0 {
			w.Bad(m, "all is undone, and %s keeps %d", path, p.balance)
		}
		if p.completed != 0 && p.step.Undo != nil && p.undoEnded == 0 {
			w.Bad(m, "all is undone but %s", path)
		}
	case fp.Completed:
		if p.undoBegan != 0 {
			w.Bad(m, "all is done, and %s was undone", path)
		}
		if p.began != 0 && p.balance != 1 {
			w.Bad(m, "all is done, and %s has %d", path, p.balance)
		}
	}
}

// reverse looks at two steps that were undone: the one that was done, or left in doubt, later has to be undone first, and
// completely.
func (w *World) reverse(m Machine, path string, p *participant, other string, q *participant) {
	w.T.Helper()
	if p == q || p.undoBegan == 0 || q.undoBegan == 0 {
		return
	}
	if p.completed != 0 && (q.completed == 0 || q.completed > p.completed) && (q.undoEnded == 0 || q.undoEnded > p.undoBegan) {
		w.Bad(m, "%s completed at %d and %s at %d (0: in doubt), but their undoing began at %d and ended at %d", path, p.completed, other, q.completed, p.undoBegan, q.undoEnded)
	}
}

// order looks whether parts of sequences came one after another, and answers the first and the last instant of a part: first
// command, last completion (0: not complete).
func (w *World) order(m Machine, p *fp.Part, above string) (first, last int) {
	path := above
	if p.Name != "" {
		path = p.Name
		if above != "" {
			path = above + "/" + p.Name
		}
	}
	switch p.Kind {
	case fp.Task:
		x := w.parts[path]
		return x.began, x.completed
	case fp.Pivot:
		return 0, 1
	case fp.Condition:
		if taken, asked := w.taken[path]; asked && !taken {
			for _, part := range p.Parts {
				if f, _ := w.order(m, part, path); f != 0 {
					w.Bad(m, "%s was left out, and something in it was started", path)
				}
			}
			return 0, 1
		}
	}
	complete := true
	for _, part := range p.Parts {
		f, l := w.order(m, part, path)
		if p.Kind != fp.Parallel && f != 0 && (!complete || f < last) && w.reopens == 0 {
			w.Bad(m, "in %q, %s began at %d, and what is before it was complete at %d (%t)", path, part.Name, f, last, complete)
		}
		if first == 0 || f != 0 && f < first {
			first = f
		}
		complete = complete && l != 0
		last = max(last, l)
	}
	if !complete {
		return first, 0
	}
	return first, last
}
