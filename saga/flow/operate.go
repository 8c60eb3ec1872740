package flow

import (
	"context"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/saga"
)

var (
	// ErrPastPivot says that an instance is past its point of no return, or stuck, so that it cannot be cancelled.
	ErrPastPivot = errors.New("flow: there is no way back for the instance; have its steps retried, or resume it when they are done by hand")
	// ErrNotStuck says that an instance goes on by itself, so that there is nothing to retry or to resume.
	ErrNotStuck = errors.New("flow: the instance, or the step, is not stuck")
)

// Cancel has the instance of a key undo what it has done, as if a step had been refused. who is for the journal. The error is
// ErrPastPivot, saga.ErrEnded also where it is being undone already, or saga.ErrNoInstance.
func (f *Flow[X, S]) Cancel(ctx context.Context, key, who string) error {
	return f.operate(ctx, key, who, "cancel", flowplan.Event{What: flowplan.Cancel})
}

// Retry has the steps tried anew at which the instance of a key is stuck, with all their attempts. With step, which is a path like
// "prepare/pack", it is that one: also where it still waits for a reply that somebody knows will not come. The error
// is ErrNotStuck, saga.ErrEnded or saga.ErrNoInstance.
func (f *Flow[X, S]) Retry(ctx context.Context, key, step, who string) error {
	return f.operate(ctx, key, who, "retry", flowplan.Event{What: flowplan.Retry, Ref: flowplan.Ref{Step: step}})
}

// Resume goes on with the instance of a key as if the steps had succeeded at which it is stuck: somebody has done by hand what they,
// or their undoing, should have. With step it is that one only. Errors are those of Retry.
func (f *Flow[X, S]) Resume(ctx context.Context, key, step, who string) error {
	return f.operate(ctx, key, who, "resume", flowplan.Event{What: flowplan.Resume, Ref: flowplan.Ref{Step: step}})
}

func (f *Flow[X, S]) operate(ctx context.Context, key, who, what string, ev flowplan.Event) error {
	var o outcome
	err := f.saga.ByHand(context.WithValue(ctx, outcomeKey{}, &o), key, who, what, func(ctx context.Context, k *kept[S], fx *saga.Effects) error {
		switch v := f.plan.Judge(&k.flow.State, ev); v {
		case flowplan.Taken:
			return f.happened(ctx, k, fx, ev, nil)
		case flowplan.PastPivot:
			return ErrPastPivot
		case flowplan.NotStuck:
			return ErrNotStuck
		case flowplan.Foreign:
			return fmt.Errorf("%w: no step %.200q was begun", ErrNotStuck, ev.Step)
		default:
			return fmt.Errorf("%w: it is %s", saga.ErrEnded, k.flow.Phase)
		}
	})
	if err == nil {
		f.count(ctx, &o)
	}
	return err
}

// At says at which steps an instance is: those that are open, between two attempts, or stuck, by path. in is an instance as
// the saga's records answer it, with its State.
func (f *Flow[X, S]) At(in *saga.Instance) ([]string, error) {
	var k kept[S]
	if err := k.UnmarshalJSON(in.State); err != nil {
		return nil, fmt.Errorf("flow: read where %s %.64q is: the state is not of this flow; ask for the instance with its State", in.Saga, in.Key)
	}
	return k.flow.At(), nil
}

// Schemas are the oldest and the newest version of the user's state that this program reads.
func (f *Flow[X, S]) Schemas() (oldest, newest int) { return f.saga.Schemas() }
