package flowplan

import "time"

// Kind says what a Part is.
type Kind int

// A Sequence does its parts one after another; Parallel all at once, and is done when all are; a Condition is a sequence that
// is done or left out as a whole; a Step is one command; the Pivot is the point of no return.
const (
	Sequence Kind = iota
	Parallel
	Condition
	Task
	Pivot
)

// A Part is a piece of a flow as people write it. Compile makes a Plan of it.
type Part struct {
	Kind  Kind
	Name  string // a sequence may have none, and adds nothing to the paths of its parts then
	Parts []*Part
	Step  *Step // of a Task
}

// Step is one command of a flow with what undoes it.
type Step struct {
	// Path is the names from the outermost part to the step, with slashes between. Compile sets it.
	Path string
	// Do is what the step does. Undo takes it back; nil if there is nothing to take back.
	Do   Command
	Undo *Command
	// NoUndo says why there is nothing to take back.
	NoUndo string

	index int
	after bool // it stands behind the pivot
}

// Command is one direction of a step.
type Command struct {
	// Answered says that a reply ends it. Else it is done when it is written.
	Answered bool
	// Within is how long an attempt waits for its reply; 0 is for ever.
	Within time.Duration
	// Attempts there may be in all, at least 1.
	Attempts int
	// Delay is what passes between the end of attempt n and the next one. Nil is none.
	Delay func(n int) time.Duration
}

// AfterPivot reports whether the step stands behind the pivot, where nothing is undone.
func (s *Step) AfterPivot() bool { return s.after }

func (s *Step) command(undo bool) *Command {
	if undo {
		return s.Undo
	}
	return &s.Do
}
