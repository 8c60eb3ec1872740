package flow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
)

// begun handles the message that begins an instance.
func (f *Flow[X, S]) begun(ctx context.Context, k *kept[S], _ *sixfold.Envelope, m any, fx *saga.Effects) error {
	if k.flow.Phase != "" {
		f.drop(ctx, fx, flowplan.Late)
		return nil
	}
	if err := f.begin.apply(&k.state, m); err != nil {
		return err
	}
	return f.do(ctx, k, fx, f.plan.Begin(&k.flow.State, f.cond(k)))
}

// come handles a reply: the command that it answers says to which step it belongs.
func (r *replyTo[X, S]) come(ctx context.Context, k *kept[S], env *sixfold.Envelope, m any, fx *saga.Effects) error {
	f := r.flow
	if err := f.check(k); err != nil { // or a reply to a step of another program would be foreign
		return err
	}
	ref, ok := k.flow.Answered(env.CausationID)
	a, waited := r.places[place{ref.Step, ref.Undo}]
	if !ok || !waited {
		f.drop(ctx, fx, flowplan.Foreign)
		return nil
	}
	ev := flowplan.Event{What: a.what, Ref: ref}
	if a.judge != nil {
		ev.What = a.judge(m)
	}
	return f.happened(ctx, k, fx, ev, func() error {
		if a.apply == nil {
			return nil
		}
		return a.apply(&k.state, m)
	})
}

// due handles a timer.
func (f *Flow[X, S]) due(ctx context.Context, k *kept[S], _ *sixfold.Envelope, m any, fx *saga.Effects) error {
	t := m.(timer)
	ev := flowplan.Event{What: flowplan.TimeUp, Ref: t.Ref}
	if t.Again {
		ev.What = flowplan.TryAgain
	}
	return f.happened(ctx, k, fx, ev, nil)
}

// happened lets an event change the instance, if it counts.
func (f *Flow[X, S]) happened(ctx context.Context, k *kept[S], fx *saga.Effects, ev flowplan.Event, apply func() error) error {
	if err := f.check(k); err != nil {
		return err
	}
	if v := f.plan.Judge(&k.flow.State, ev); v != flowplan.Taken {
		f.drop(ctx, fx, v)
		return nil
	}
	if apply != nil {
		switch err := apply(); {
		case errors.Is(err, ErrRefused) && ev.What == flowplan.Succeeded:
			if ev.What = flowplan.Refused; ev.Undo {
				ev.What = flowplan.Unable // there is no other way than back
			}
			if v := f.plan.Judge(&k.flow.State, ev); v != flowplan.Taken { // a no counts for the last attempt only
				f.drop(ctx, fx, v)
				return nil
			}
		case err != nil:
			return err
		}
	}
	before := k.flow.Phase
	effects := f.plan.Apply(&k.flow.State, ev, f.cond(k))
	if before == flowplan.Running && (k.flow.Phase == flowplan.Compensating || k.flow.Phase == flowplan.Compensated) {
		k.flow.Why = why(ev)
	}
	return f.do(ctx, k, fx, effects)
}

// check refuses what another program began and this one does not know.
func (f *Flow[X, S]) check(k *kept[S]) error {
	if err := f.plan.Check(&k.flow.State); err != nil {
		return fmt.Errorf("flow %s: %w: %w", f.name, saga.ErrSchema, err)
	}
	return nil
}

// why the instance turned round, or ended.
func why(ev flowplan.Event) string {
	what := map[flowplan.What]string{flowplan.Refused: "was refused", flowplan.Unable: "failed", flowplan.TimeUp: "did not answer in time",
		flowplan.Cancel: "cancelled by a person"}[ev.What]
	return strings.TrimSpace(ev.Step + " " + what)
}

func (f *Flow[X, S]) cond(k *kept[S]) flowplan.Conditions {
	return func(path string) bool { return f.conds[path](&k.state) }
}

// statusOf an instance in a phase.
func statusOf(p flowplan.Phase) saga.Status {
	switch p {
	case flowplan.Compensating:
		return saga.Compensating
	case flowplan.Completed:
		return saga.Completed
	case flowplan.Compensated:
		return saga.Compensated
	case flowplan.Stuck:
		return saga.Stuck
	}
	return saga.Running
}

// do carries out effects, in their order.
func (f *Flow[X, S]) do(ctx context.Context, k *kept[S], fx *saga.Effects, effects []flowplan.Effect) error {
	st := &k.flow.State
	for _, e := range effects {
		switch e.Kind {
		case flowplan.Send:
			c := &f.steps[e.Step].do
			if e.Undo {
				c = &f.steps[e.Step].undo
			}
			m := c.make(&k.state)
			var opts []outbox.Option
			if _, keyed := m.(sixfold.Keyed); !keyed || c.replyTo != "" {
				opts = append(opts, outbox.Key(fx.Instance().Key)) // so that Do and Undo stay in order, and a reply finds its way
			}
			if c.replyTo != "" {
				opts = append(opts, outbox.ReplyTo(c.replyTo))
				if within := f.steps[e.Step].within; within != nil {
					opts = append(opts, outbox.Expires(*within))
				}
			}
			st.Sent(e.Ref, fx.Send(m, opts...))
		case flowplan.SetTimer:
			st.Armed(e.Ref, fx.After(e.After, timer{flow: f.name, Ref: e.Ref, Again: e.Again}))
		case flowplan.CancelTimer:
			fx.CancelTimeout(e.Timer)
		}
	}
	o := outcomeOf(ctx)
	o.reset()
	in, status := fx.Instance(), statusOf(st.Phase)
	same := status == in.Status
	if same && status != saga.Stuck { // one that is stuck at fewer steps says at which
		return nil
	}
	e := Ended{Flow: f.name, Key: in.Key, Instance: in.ID, Status: status}
	switch status {
	case saga.Compensating, saga.Compensated:
		e.Reason = k.flow.Why
	case saga.Stuck:
		e.Steps, e.Undoing = st.At(), st.Undoing()
		e.Reason = e.stuck()
	}
	if status.Ended() && !same {
		o.ended = &e
	}
	fx.Become(status, e.Reason)
	return nil
}

// stuck is what a person reads first.
func (e *Ended) stuck() string {
	what := "it used up its attempts behind the pivot"
	if e.Undoing {
		what = "its Undo used up its attempts"
	}
	return fmt.Sprintf("%s: %s", strings.Join(e.Steps, ", "), what)
}

// drop is for what changes nothing.
func (f *Flow[X, S]) drop(ctx context.Context, fx *saga.Effects, v flowplan.Verdict) {
	o := outcomeOf(ctx)
	o.reset()
	o.dropped, o.verdict = true, v
	fx.Drop()
}
