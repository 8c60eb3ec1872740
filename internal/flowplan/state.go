package flowplan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Phase of an instance.
type Phase string

// Running and Compensating go on, Completed, Compensated and Stuck are ends, and only an operator leaves Stuck.
const (
	Running      Phase = "running"
	Compensating Phase = "compensating"
	Completed    Phase = "completed"
	Compensated  Phase = "compensated"
	Stuck        Phase = "stuck"
)

// Ended reports whether the phase is an end.
func (p Phase) Ended() bool { return p == Completed || p == Compensated || p == Stuck }

// Status of a step. One that was never started has none.
type Status string

// What a step can be.
const (
	// Open: its command is written and its reply awaited.
	Open Status = "open"
	// Pausing: an attempt has ended without success, and the next one has its time to come.
	Pausing Status = "pausing"
	// Done: it succeeded.
	Done Status = "done"
	// Failed: it was refused for good, and took no effect.
	Failed Status = "failed"
	// InDoubt: some command of it was never answered, so that it may have run, or may yet.
	InDoubt Status = "in-doubt"
	// Halted: it is past the pivot and has used up its attempts, or its undoing has.
	Halted Status = "halted"
	// Undoing, UndoPausing, Undone: as the first three, for the way back.
	Undoing     Status = "undoing"
	UndoPausing Status = "undo-pausing"
	Undone      Status = "undone"
	// Kept: it ran or may have run, and needs no undoing.
	Kept Status = "kept"
)

// State is how far one instance has come: a value for JSON, beside the user's own. The zero value is an instance that has not
// begun.
type State struct {
	Phase Phase `json:"phase,omitempty"`
	// Pivoted: the point of no return is passed.
	Pivoted bool `json:"pivoted,omitempty"`
	// Tick counts what happened to steps, so that their order is known.
	Tick int `json:"tick,omitempty"`
	// Taken holds what was decided for each condition that was reached, by path.
	Taken map[string]bool `json:"taken,omitempty"`
	// Steps that were started, by path.
	Steps map[string]*Progress `json:"steps,omitempty"`
}

// Progress of one step.
type Progress struct {
	Status Status `json:"status"`
	// Begun and Ended are the ticks of its first command, and of its success, or of when it was left in doubt.
	Begun int `json:"begun,omitempty"`
	Ended int `json:"ended,omitempty"`
	// Doubt: an attempt went without its reply.
	Doubt bool  `json:"doubt,omitempty"`
	Do    Tries `json:"do,omitzero"`
	Undo  Tries `json:"undo,omitzero"`
}

// Tries are the attempts of one direction.
type Tries struct {
	// N attempts were made, of which an operator forgave Forgiven.
	N        int `json:"n,omitempty"`
	Forgiven int `json:"forgiven,omitempty"`
	// Commands are the message ids of the last attempts, the newest last.
	Commands []string `json:"commands,omitempty"`
	// Timer is the id of the one that runs.
	Timer string `json:"timer,omitempty"`
}

// maxCommands is how many attempts are remembered: a reply to an older one is foreign.
const maxCommands = 8

// Ref names an attempt of a step.
type Ref struct {
	Step    string `json:"step"`
	Undo    bool   `json:"undo,omitempty"`
	Attempt int    `json:"attempt"`
}

// tries of one direction of a step.
func (g *Progress) tries(undo bool) *Tries {
	if undo {
		return &g.Undo
	}
	return &g.Do
}

// Sent tells the state the message id of a command that was sent as an effect said.
func (st *State) Sent(r Ref, id string) {
	if g := st.Steps[r.Step]; g != nil {
		t := g.tries(r.Undo)
		t.Commands = append(t.Commands, id)
		if n := len(t.Commands); n > maxCommands {
			t.Commands = slices.Delete(t.Commands, 0, n-maxCommands)
		}
	}
}

// Armed tells the state the id of a timer that was set as an effect said.
func (st *State) Armed(r Ref, id string) {
	if g := st.Steps[r.Step]; g != nil {
		g.tries(r.Undo).Timer = id
	}
}

// Answered finds the attempt whose command has the message id.
func (st *State) Answered(command string) (Ref, bool) {
	if command == "" {
		return Ref{}, false
	}
	for path, g := range st.Steps {
		for _, undo := range []bool{false, true} {
			t := g.tries(undo)
			if i := slices.Index(t.Commands, command); i >= 0 {
				return Ref{path, undo, t.N - len(t.Commands) + 1 + i}, true
			}
		}
	}
	return Ref{}, false
}

// At lists the paths of the steps that are open, halted or between two attempts, sorted.
func (st *State) At() (paths []string) {
	for _, path := range slices.Sorted(maps.Keys(st.Steps)) {
		switch st.Steps[path].Status {
		case Open, Pausing, Undoing, UndoPausing, Halted:
			paths = append(paths, path)
		}
	}
	return paths
}

// Check says whether the plan knows every step of an instance: one that an older or newer program began may have others.
func (p *Plan) Check(st *State) error {
	var unknown []string
	for path := range st.Steps {
		if p.byPath[path] == nil {
			unknown = append(unknown, fmt.Sprintf("%.100q", path))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("the instance has begun steps that this program does not know (%s); deploy the program that knows them, and keep steps until no instance is at them or may undo them", strings.Join(unknown, ", "))
}

// Undoing reports whether some step is on its way back, or halted there.
func (st *State) Undoing() bool {
	for _, g := range st.Steps {
		if g.Undo.N > 0 {
			return true
		}
	}
	return false
}
