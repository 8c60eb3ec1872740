package saga

import "sync/atomic"

// Stats counts what became of a saga's messages in this process.
type Stats struct {
	// Steps that took effect.
	Steps int64
	// NoInstance: dropped, since no instance has begun.
	NoInstance int64
	// Ended: dropped, since the instance has ended.
	Ended int64
	// StaleTimers: timers that were dropped, since they were cancelled or their instance is another one now or has ended.
	StaleTimers int64
	// Dropped: by a step, with Effects.Drop.
	Dropped int64
	// Conflicts: steps that ran again in a fresh transaction, which costs no attempt.
	Conflicts int64
	// FailedSteps: attempts that failed.
	FailedSteps int64
}

type counters struct {
	steps, noInstance, ended, stale, dropped, conflicts, failed atomic.Int64
}

// Stats answers what was counted so far.
func (g *Saga[X, S]) Stats() Stats {
	c := &g.stats
	return Stats{Steps: c.steps.Load(), NoInstance: c.noInstance.Load(), Ended: c.ended.Load(), StaleTimers: c.stale.Load(),
		Dropped: c.dropped.Load(), Conflicts: c.conflicts.Load(), FailedSteps: c.failed.Load()}
}
