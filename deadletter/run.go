package deadletter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Redrive sends dead letters again that match f, in the order of their numbers. One of a consumer goes back into the line of
// its key, before what came later, and has all its attempts again; one of a relay goes to the outbox. What is no dead
// letter any more is left as it is. When ctx ends, or a step fails, the report says what was done until then, and a Redrive
// with its Run goes on from there, also in another process.
func (l *Letters) Redrive(ctx context.Context, f Filter, o Options) (Report, error) {
	if f.State != Dead {
		return Report{}, errors.New("deadletter: redrive: the filter asks for messages that wait, which come again by themselves; release them, or leave State out")
	}
	return l.do(ctx, "redrive", f, o, l.st.Redrive)
}

// Discard removes messages that match f: dead letters, unless f asks for others. What they held back goes on. The inbox still
// knows them as dead, so that a late copy is not handled. They are in the audit, a body over 64 kB with its hash only.
func (l *Letters) Discard(ctx context.Context, f Filter, o Options) (Report, error) {
	return l.do(ctx, "discard", f, o, l.st.Discard)
}

// Release makes lines due now in which messages wait that match f. It asks for waiting ones whatever State is.
func (l *Letters) Release(ctx context.Context, f Filter, o Options) (Report, error) {
	f.State = Waiting
	return l.do(ctx, "release", f, o, l.st.Release)
}

// step is one transaction of an action.
type step func(ctx context.Context, r Run, after int64, limit int) (Step, error)

func (l *Letters) do(ctx context.Context, action string, f Filter, o Options, step step) (report Report, err error) {
	batch := 1000
	if action == "discard" {
		batch = 100
	}
	if o.Canary && action != "redrive" {
		return Report{}, fmt.Errorf("deadletter: %s: a canary is for a redrive only; leave it out", action)
	}
	if err := o.check(&f, batch); err != nil {
		return Report{}, err
	}
	if o.DryRun {
		s, err := l.st.Summary(ctx, f)
		return Report{Summary: &s}, err
	}
	r := Run{ID: o.Run, Action: action, Filter: f, Who: o.Who, Reason: o.Reason, Canary: o.Canary, Rate: o.Rate, CanaryWait: o.CanaryWait}
	if r.ID == "" {
		r.ID = sixfold.NewID()
	}
	if r, err = l.st.Begin(ctx, r); err != nil {
		return Report{}, err
	}
	if r.Action != action {
		return Report{}, fmt.Errorf("deadletter: %s: run %q is a %s; resume it as that, or give another name", action, r.ID, r.Action)
	}
	if r.Resumed {
		r.Who, r.Reason = o.Who, o.Reason
		if o.Rate > 0 {
			r.Rate = o.Rate
		}
	}
	report = Report{Run: r.ID, Resumed: r.Resumed}
	if err = l.missing(ctx, r, &report); err == nil && r.Canary {
		err = l.canary(ctx, r, &o, &report)
	}
	if err == nil {
		err = walk(ctx, r, &o, &report, step)
	}
	if err != nil {
		return report, fmt.Errorf("deadletter: %s: run %s stopped after %d messages; resume it with its name: %w", action, r.ID, report.Done, err)
	}
	return report, nil
}

// missing skips numbers that the filter names and that are not in its state.
func (l *Letters) missing(ctx context.Context, r Run, report *Report) error {
	if len(r.Filter.Numbers) == 0 {
		return nil
	}
	there := map[int64]Letter{}
	for _, part := range parts(r.Filter.Numbers) {
		list, err := l.st.List(ctx, Filter{State: All, Numbers: part}, Page{Limit: maxPage})
		if err != nil {
			return err
		}
		for i := range list {
			there[list[i].N] = list[i]
		}
	}
	for _, n := range r.Filter.Numbers {
		switch letter, ok := there[n]; {
		case !ok:
			report.skip(Skip{n, "it is not parked: it was handled, sent again by the relay, or discarded"})
		case r.Filter.State == Dead && !letter.Dead:
			report.skip(Skip{n, "it is no dead letter: it waits for its next attempt, or was sent again before"})
		case r.Filter.State == Waiting && letter.Dead:
			report.skip(Skip{n, "it does not wait: it is a dead letter"})
		}
	}
	return nil
}

// parts cuts numbers into lists that one question takes.
func parts(ns []int64) (all [][]int64) {
	for len(ns) > 1000 {
		all, ns = append(all, ns[:1000]), ns[1000:]
	}
	return append(all, ns)
}

// walk goes through all numbers of the run, step by step.
func walk(ctx context.Context, r Run, o *Options, report *Report, step step) error {
	began, sent := time.Now(), 0
	limit := o.Batch
	if r.Rate > 0 {
		limit = min(limit, max(1, int(r.Rate)))
	}
	for after := int64(0); ; {
		if r.Rate > 0 {
			if err := sleep(ctx, time.Until(began.Add(time.Duration(float64(sent)/r.Rate*float64(time.Second))))); err != nil {
				return err
			}
		}
		s, err := step(ctx, r, after, limit)
		if err != nil {
			return err
		}
		sent += len(s.Done)
		report.Done += len(s.Done)
		report.skip(s.Skipped...)
		if o.Progress != nil && len(s.Done)+len(s.Skipped) > 0 {
			o.Progress(*report)
		}
		if s.Next == 0 {
			return nil
		}
		after = s.Next
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
