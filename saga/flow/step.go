package flow

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/saga"
)

// Task is a step: a Part that Step makes, and that its methods answer a changed copy of.
type Task[S any] struct {
	name string
	step step[S]
}

// step is what is known of a Task.
type step[S any] struct {
	do, undo  command[S]
	noUndo    string
	within    *time.Duration
	retry     *sixfold.Retry
	undoRetry sixfold.Retry
	pivot     bool
	errs      []error
}

// command is one direction of a step.
type command[S any] struct {
	make    func(s *S) sixfold.Message
	sample  sixfold.Message
	answers []answer[S]
	replyTo string // of a request
}

// answer is a reply that a command waits for.
type answer[S any] struct {
	heard saga.Heard
	what  flowplan.What
	judge func(m any) flowplan.What // where what depends on the message; else nil
	apply func(s *S, m any) error   // nil: nothing
}

// A Clause says something about a step of a flow whose state is an S.
type Clause[S any] struct{ set func(st *step[S]) }

// Step makes a step. Its name stands for it in stored instances and never changes; it is one of letters, digits, dots and
// dashes, and no other part beside it has it.
//
// It has one Do; Then if it waits for a reply, else it is done when its command is written; and an Undo, or NoUndo, unless
// it is behind the pivot.
func Step[S any](name string, clauses ...Clause[S]) Task[S] {
	t := Task[S]{name: name}
	for i, c := range clauses {
		if c.set == nil {
			t.step.errs = append(t.step.errs, fmt.Errorf("its clause number %d is empty; make clauses with the functions of this package", i+1))
			continue
		}
		c.set(&t.step)
	}
	return t
}

// Within limits how long an attempt waits for its reply, of Do and of Undo. When it has passed, the command may have been
// carried out, or may yet be: the step is tried again, or undone. Without it the step waits for ever.
func (t Task[S]) Within(d time.Duration) Task[S] {
	t.step.within = &d
	return t
}

// Attempts says how often Do is tried before the step has failed: when its time has passed, or it is answered by what Failed
// names; behind the pivot also when it is refused. MaxBackoff and the like say how long it waits between two attempts; Classes
// and AfterDead have no meaning here. Without it a step is tried once, and behind the pivot as often as the zero sixfold.Retry says; a
// MaxAttempts of math.MaxInt is for ever.
func (t Task[S]) Attempts(r sixfold.Retry) Task[S] {
	t.step.retry = &r
	return t
}

// UndoAttempts says the same of Undo. When they are used up the instance is stuck, and waits for a person. Without it, as the zero
// sixfold.Retry says.
func (t Task[S]) UndoAttempts(r sixfold.Retry) Task[S] {
	t.step.undoRetry = r
	return t
}

// NoUndo says why there is nothing to take back, for the reader.
func (t Task[S]) NoUndo(why string) Task[S] {
	if t.step.noUndo = why; why == "" {
		t.step.errs = append(slices.Clone(t.step.errs), errors.New("NoUndo does not say why; write it down for the reader"))
	}
	return t
}

// Pivot makes the step the point of no return: when it is done, nothing is undone any more, and the steps behind it are only
// tried again, until they are done or the instance is stuck.
func (t Task[S]) Pivot() Task[S] {
	t.step.pivot = true
	return t
}

func (t Task[S]) part(w *writer[S], above string) *flowplan.Part {
	own := t.step
	path := join(above, t.name)
	w.steps[path] = &own
	for _, err := range own.problems() {
		w.errs = append(w.errs, fmt.Errorf("%.200q: %w", path, err))
	}
	p := &flowplan.Step{}
	own.fill(p, w.after)
	return &flowplan.Part{Kind: flowplan.Task, Name: t.name, Step: p}
}

// fill makes what the plan knows of the step; after says that it is behind the pivot.
func (st *step[S]) fill(p *flowplan.Step, after bool) {
	p.NoUndo = st.noUndo
	retry := sixfold.Retry{MaxAttempts: 1}
	switch {
	case st.retry != nil:
		retry = *st.retry
	case after:
		retry = sixfold.Retry{}
	}
	p.Do = st.do.plan(st.within, retry)
	if st.undo.make != nil {
		undo := st.undo.plan(st.within, st.undoRetry)
		p.Undo = &undo
	}
}

func (c *command[S]) plan(within *time.Duration, r sixfold.Retry) flowplan.Command {
	cmd := flowplan.Command{Answered: len(c.answers) > 0, Attempts: max(r.For(nil).MaxAttempts, 1), Delay: r.Delay}
	if within != nil && cmd.Answered {
		cmd.Within = max(*within, 0) // problems says what is wrong with it
	}
	return cmd
}

// problems are what is wrong with the step itself, wherever it stands.
func (st *step[S]) problems() []error {
	errs := slices.Clone(st.errs)
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if st.do.make == nil {
		bad("it does nothing; give it a Do")
	}
	succeeds := func(a answer[S]) bool { return a.what == flowplan.Succeeded }
	if len(st.do.answers) > 0 && !slices.ContainsFunc(st.do.answers, succeeds) {
		bad("it waits for replies, and none says that it succeeded; give it a Then")
	}
	if len(st.undo.answers) > 0 && !slices.ContainsFunc(st.undo.answers, succeeds) {
		bad("its Undo waits for replies, and none says that it succeeded; give it an Undone")
	}
	if st.within != nil {
		switch {
		case *st.within <= 0:
			bad("Within is %v; give a positive time, or leave it out to wait for ever", *st.within)
		case len(st.do.answers)+len(st.undo.answers) == 0:
			bad("it has a time limit and waits for no reply; name the reply with Then, or leave Within out")
		}
	}
	for what, r := range map[string]sixfold.Retry{"Attempts": deref(st.retry), "UndoAttempts": st.undoRetry} {
		if err := r.Check(); err != nil {
			bad("%s: %w", what, err)
		}
		if len(r.Classes) > 0 || r.AfterDead != 0 {
			bad("%s: Classes and AfterDead are about messages that fail, and have no meaning here; leave them out", what)
		}
	}
	for _, c := range []*command[S]{&st.do, &st.undo} {
		var names []string
		for _, a := range c.answers {
			if a.heard.Err != nil {
				bad("%w", a.heard.Err)
				continue
			}
			if slices.Contains(names, a.heard.Route.Name) {
				bad("the reply %q has two meanings for one command; give each outcome a message of its own", a.heard.Route.Name)
			}
			names = append(names, a.heard.Route.Name)
		}
	}
	return errs
}

func deref(r *sixfold.Retry) sixfold.Retry {
	if r == nil {
		return sixfold.Retry{}
	}
	return *r
}

// setCommand makes a clause that says what a direction sends.
func setCommand[S any, M sixfold.Message](what string, of func(st *step[S]) *command[S], cmd func(s *S) M) Clause[S] {
	return Clause[S]{func(st *step[S]) {
		c := of(st)
		switch k := reflect.TypeFor[M]().Kind(); {
		case cmd == nil:
			st.errs = append(st.errs, fmt.Errorf("the function of %s is nil; pass a func(*%s) that makes the command", what, reflect.TypeFor[S]()))
			return
		case c.make != nil:
			st.errs = append(st.errs, fmt.Errorf("it has two clauses %s; make two steps of it", what))
			return
		case k == reflect.Interface || k == reflect.Pointer:
			st.errs = append(st.errs, fmt.Errorf("the message of %s is a %s; let the function answer a plain value of one type", what, reflect.TypeFor[M]()))
		default:
			var zero M
			c.sample = zero
		}
		c.make = func(s *S) sixfold.Message { return cmd(s) }
	}}
}
