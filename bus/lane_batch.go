package bus

import (
	"context"
	"errors"
	"slices"

	"github.com/sixfold-go/sixfold"
)

// batches reports whether the item may be one of a batch: its first attempt, and nothing to suspect it of.
func (it *item) batches() bool {
	return it.refusal == "" && it.route.batch != nil && !it.suspect && !it.single && it.attempts == 0 && !late(it.d)
}

// gather makes running a batch: first and what follows it directly for the same route. The lane is locked.
func (l *lane) gather(first *item) {
	fits := func(it *item) bool {
		if it.lost() || l.stopping && !it.acked || l.before(it) != nil {
			return false
		}
		if !it.judged {
			l.r.classify(it)
		}
		return it.route == first.route && it.batches()
	}
	its := []*item{first}
	for len(its) < first.route.size {
		next := l.q.front()
		if next != nil && fits(next) {
			l.q.popFront()
		} else if next = l.r.loose.popIf(fits); next == nil {
			break
		}
		its = append(its, next)
	}
	if len(its) > 1 {
		l.running = its
	}
}

// runBatch calls the batch handler. An error is no attempt of anybody: the messages run one by one, in their order; but
// while the infrastructure is away the whole batch is repeated.
func (l *lane) runBatch(its []*item) {
	r := l.r
	route := its[0].route
	envs := make([]*sixfold.Envelope, len(its))
	ds := make([]*Delivery, len(its))
	for i, it := range its {
		envs[i], ds[i] = &it.d.Envelope, it.d
	}
	for n := 1; ; n++ {
		h := new(handling)
		h.begin(r, ds, 1)
		h.info.Envelopes = envs
		err := r.guard(h, route.name, func(ctx context.Context) error { return route.batch(ctx, envs) })
		if err == nil {
			r.outages.end()
			l.left(its)
			for _, it := range its {
				r.settle(it, false)
			}
			return
		}
		r.c.noteError(err)
		if !errors.Is(err, ErrUnavailable) || sixfold.IsPermanent(err) {
			r.c.log.Info("bus: a batch failed, running its messages one by one", "consumer", r.c.s.Group, "route", route.name, "messages", len(its), "error", err)
			break
		}
		r.outages.begin(err)
		if slices.ContainsFunc(its, (*item).lost) || !r.pause(passing(n)) {
			break
		}
	}
	l.split(its)
}

// left leaves the gate in which the first of a batch stands for all.
func (l *lane) left(its []*item) {
	for _, g := range its[0].leave(nil) {
		g.leave()
	}
}

// split puts the messages of a failed batch to the front of the queue, to run one by one; what was cancelled by the
// drain limit is in doubt.
func (l *lane) split(its []*item) {
	l.left(its)
	if l.r.drained.Load() {
		l.r.doubt.Add(int64(len(its)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = nil
	for _, it := range slices.Backward(its) {
		it.single = true
		l.q.pushFront(it)
	}
}
