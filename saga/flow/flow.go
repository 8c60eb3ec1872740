package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/saga"
)

// Options of a Flow. The zero value is ready to use.
type Options struct {
	// OnEnd is told of each instance that has come to its end, or is stuck and waits for a person, when that is committed. It has to
	// return soon, and may miss an instance if the process dies just then: the saga's records do not forget.
	OnEnd func(ctx context.Context, e Ended)
	// Logger; nil is slog.Default(). Stuck instances are logged as errors.
	Logger *slog.Logger
}

// Ended is an instance that has come to its end.
type Ended struct {
	Flow, Key, Instance string
	// Status is saga.Completed, saga.Compensated or saga.Stuck.
	Status saga.Status
	// Reason it did not complete, for people.
	Reason string
	// Steps that used up their attempts, of a stuck one. Undoing: it was undoing them; else they are behind the pivot.
	Steps   []string
	Undoing bool
}

// A Flow is a definition: steps on a saga.Box. It does not change and is safe for concurrent use.
type Flow[X, S any] struct {
	name  string
	saga  *saga.Saga[X, kept[S]]
	plan  *flowplan.Plan
	begin Beginning[S]
	steps map[string]*step[S]
	conds map[string]func(*S) bool
	opts  Options
	stats counters
}

// New makes a Flow. name is kept with its instances and never changes; the state S is a plain struct, kept as JSON, that may be a
// saga.Evolved. New reports every problem at once, each with the path of its step.
func New[X, S any](name string, box *saga.Box[X], opts *Options, begin Beginning[S], parts ...Part[S]) (*Flow[X, S], error) {
	f := &Flow[X, S]{name: name, begin: begin}
	if opts != nil {
		f.opts = *opts
	}
	if f.opts.Logger == nil {
		f.opts.Logger = slog.Default()
	}
	w := &writer[S]{steps: map[string]*step[S]{}, conds: map[string]func(*S) bool{}}
	root := &flowplan.Part{Kind: flowplan.Sequence, Parts: write(w, "", parts)}
	var errs []error
	add := func(err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("flow %.64q: %w", name, err))
		}
	}
	for _, err := range w.errs {
		add(err)
	}
	var err error
	if f.plan, err = flowplan.Compile(root); err != nil {
		for _, e := range unjoin(err) {
			add(e)
		}
	}
	f.steps, f.conds = w.steps, w.conds
	if begin.heard.Decode == nil {
		add(errors.New("no message begins it; make the beginning with flow.Begin"))
	}
	add(begin.err)
	replies, problems := f.replies()
	for _, err := range problems {
		add(err)
	}
	if _, err := (kept[S]{}).MarshalJSON(); err != nil {
		add(err)
	}
	if box != nil {
		for _, err := range f.unrouted(box) {
			add(err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	steps := []saga.Step[X, kept[S]]{saga.StartedByHeard[X](begin.heard, f.begun)}
	for _, name := range slices.Sorted(maps.Keys(replies)) {
		r := replies[name]
		steps = append(steps, saga.OnHeard[X](r.heard, r.come))
	}
	if f.waits() {
		steps = append(steps, saga.OnTimeoutHeard[X](heardTimer(name), f.due))
	}
	if f.saga, err = saga.Define(name, box, steps...); err != nil {
		return nil, err
	}
	return f, nil
}

func unjoin(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}

// Name of the flow.
func (f *Flow[X, S]) Name() string { return f.name }

// Routes are for a consumer, which takes all of them. Replies have to come to it, and the flow's Timer.
func (f *Flow[X, S]) Routes() []sixfold.Route {
	rs := f.saga.Routes()
	for i := range rs {
		handle := rs[i].Handle
		rs[i].Handle = func(ctx context.Context, env *sixfold.Envelope) error {
			var o outcome
			err := handle(context.WithValue(ctx, outcomeKey{}, &o), env)
			if err == nil {
				f.count(ctx, &o)
			}
			return err
		}
	}
	return rs
}

// waits reports whether anything of the flow needs a timer.
func (f *Flow[X, S]) waits() bool {
	return slices.ContainsFunc(f.plan.Steps(), func(s *flowplan.Step) bool {
		return timed(s.Do) || s.Undo != nil && timed(*s.Undo)
	})
}

func timed(c flowplan.Command) bool { return c.Within > 0 || c.Answered && c.Attempts > 1 }

// replyTo is one type of message that replies to commands of some steps.
type replyTo[X, S any] struct {
	flow   *Flow[X, S]
	heard  saga.Heard
	keys   []func(any) string
	places map[place]answer[S]
}

// place is one direction of a step.
type place struct {
	step string
	undo bool
}

// replies gathers what the steps wait for by the names of messages.
func (f *Flow[X, S]) replies() (map[string]*replyTo[X, S], []error) {
	all := map[string]*replyTo[X, S]{}
	var errs []error
	for _, path := range slices.Sorted(maps.Keys(f.steps)) {
		for undo, c := range map[bool]*command[S]{false: &f.steps[path].do, true: &f.steps[path].undo} {
			for _, a := range c.answers {
				name := a.heard.Route.Name
				if a.heard.Err != nil {
					continue // the step says it
				}
				if f.begin.heard.Decode != nil && name == f.begin.heard.Route.Name {
					errs = append(errs, fmt.Errorf("%.200q: the reply %q also begins the flow; give them messages of their own", path, name))
					continue
				}
				r := all[name]
				if r == nil {
					r = &replyTo[X, S]{flow: f, heard: a.heard, places: map[place]answer[S]{}}
					r.heard.Key = r.key
					all[name] = r
				}
				r.keys = append(r.keys, a.heard.Key)
				r.places[place{path, undo}] = a
			}
		}
	}
	return all, errs
}

// key asks the key functions of all steps, which have to agree: no key if they do not.
func (r *replyTo[X, S]) key(m any) string {
	key := r.keys[0](m)
	for _, k := range r.keys[1:] {
		if k(m) != key {
			return ""
		}
	}
	return key
}

// unrouted are commands that the outbox could not send.
func (f *Flow[X, S]) unrouted(box interface{ Routed(sixfold.Message) error }) (errs []error) {
	for _, path := range slices.Sorted(maps.Keys(f.steps)) {
		for what, c := range map[string]*command[S]{"Do": &f.steps[path].do, "Undo": &f.steps[path].undo} {
			if c.sample == nil || sixfold.CheckMessageName(c.sample.MessageName()) != nil {
				continue
			}
			if err := box.Routed(c.sample); err != nil {
				errs = append(errs, fmt.Errorf("%.200q: %s: %w", path, what, err))
			}
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errs
}
