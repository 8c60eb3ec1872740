package flow

import (
	"context"
	"sync/atomic"

	"github.com/sixfold-go/sixfold/internal/flowplan"
	"github.com/sixfold-go/sixfold/saga"
)

// Stats counts what became of a flow's instances and messages in this process.
type Stats struct {
	// Completed, Compensated and Stuck instances.
	Completed, Compensated, Stuck int64
	// Late replies and timers, and second beginnings: the step did not wait for them any more. What comes when the instance has
	// ended is counted in Saga.Ended and Saga.StaleTimers.
	Late int64
	// Foreign replies: to no command of the instance, or of a type that the command does not wait for.
	Foreign int64
	// Saga is what the saga below counted.
	Saga saga.Stats
}

type counters struct{ completed, compensated, stuck, late, foreign atomic.Int64 }

// Stats answers what was counted so far.
func (f *Flow[X, S]) Stats() Stats {
	c := &f.stats
	return Stats{Completed: c.completed.Load(), Compensated: c.compensated.Load(), Stuck: c.stuck.Load(),
		Late: c.late.Load(), Foreign: c.foreign.Load(), Saga: f.saga.Stats()}
}

// outcome is what the last transaction of a message came to. It counts when that is committed.
type outcome struct {
	dropped bool
	verdict flowplan.Verdict
	ended   *Ended
}

func (o *outcome) reset() { *o = outcome{} }

type outcomeKey struct{}

func outcomeOf(ctx context.Context) *outcome {
	if o, ok := ctx.Value(outcomeKey{}).(*outcome); ok {
		return o
	}
	return &outcome{}
}

// count is called when the transaction is committed.
func (f *Flow[X, S]) count(ctx context.Context, o *outcome) {
	c := &f.stats
	switch {
	case o.dropped && o.verdict == flowplan.Foreign:
		c.foreign.Add(1)
	case o.dropped:
		c.late.Add(1)
	case o.ended != nil:
		f.end(ctx, *o.ended)
	}
}

func (f *Flow[X, S]) end(ctx context.Context, e Ended) {
	switch e.Status {
	case saga.Completed:
		f.stats.completed.Add(1)
	case saga.Compensated:
		f.stats.compensated.Add(1)
	case saga.Stuck:
		f.stats.stuck.Add(1)
		f.opts.Logger.ErrorContext(ctx, "flow: instance is stuck and waits for a person", "flow", f.name, "key", e.Key, "instance", e.Instance,
			"steps", e.Steps, "undoing", e.Undoing)
	}
	if f.opts.OnEnd != nil {
		f.opts.OnEnd(ctx, e)
	}
}
