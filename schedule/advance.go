package schedule

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/internal/planted"
)

const (
	// stepAtMost is how many occurrences one transaction begins of one schedule, and catchUp how long it is until it begins
	// more of those that were missed: who was away for long does not flood its consumers when it is back.
	stepAtMost = 100
	catchUp    = time.Second
	// countAtMost is how many missed occurrences are counted.
	countAtMost = 10_000
)

// advance is one transaction's worth of schedules that are due.
func (s *Scheduler) advance(ctx context.Context) (int, error) {
	return s.store.Recurring().Advance(ctx, min(s.opts.Batch, 500), plan)
}

func plan(now time.Time, due []Entry) []Step {
	steps := make([]Step, len(due))
	for i := range due {
		steps[i] = step(due[i], now)
	}
	return steps
}

// step decides on the occurrences of one schedule that are due. Everything follows from what was planned before; now only says
// how late it is.
func step(e Entry, now time.Time) Step {
	d, cal, err := readDefinition(e.Definition)
	if err != nil {
		return broken(e, now, err)
	}
	due, missed := d.due(&cal, &e, now)
	out := Step{}
	e.Wake = time.Time{}
	last := e.Next
	if len(due) > 0 {
		last = due[len(due)-1]
	}
	if len(due) == 0 { // all are too late
		for _, planned := range lastUpTo(&cal, e.Next, now, stepAtMost) {
			if now.Sub(d.wake(e.Name, planned)) > d.Grace {
				last = planned
			}
		}
		out.Occurrences = append(out.Occurrences, Begun{Occurrence: Occurrence{Schedule: e.Name, Planned: last, Promoted: now, Outcome: Misfired, Missed: max(0, missed-1)}})
	}
	for i, planned := range due {
		o := Occurrence{Schedule: e.Name, Planned: planned, Promoted: now, Outcome: Begins}
		if i == 0 {
			o.Missed = missed
		}
		if d.NoOverlap && (e.Unhandled || i > 0) {
			o.Outcome = Overlapped
			out.Occurrences = append(out.Occurrences, Begun{Occurrence: o})
			continue
		}
		b := Begun{Occurrence: o}
		if b.ID = OccurrenceID(e.Name, planned); planted.Is(planted.TickIDFromClock) {
			b.ID = OccurrenceID(e.Name, now)
		}
		b.Broker, b.Local = d.Message.rows(b.ID, planned)
		b.Relayed, b.Occurrence.Local = len(b.Broker) > 0, len(b.Local) > 0
		out.Occurrences = append(out.Occurrences, b)
		e.Runs, e.LastID = e.Runs+1, b.ID
		if d.MaxRuns > 0 && e.Runs >= int64(d.MaxRuns) {
			last = planned
			break
		}
	}
	e.Last = last
	if planted.Is(planted.NextDueFromNow) {
		last = now
	}
	d.plan(&cal, &e, last)
	if !e.Wake.IsZero() && !e.Wake.After(now) && len(due) == stepAtMost {
		e.Wake = now.Add(catchUp)
	}
	out.Entry = e
	return out
}

// plan sets what comes after last.
func (d *definition) plan(cal *Calendar, e *Entry, last time.Time) {
	e.Next, e.Wake = time.Time{}, time.Time{}
	next, ok := cal.Next(last)
	if !ok || next.At.Year() > 9999 || d.MaxRuns > 0 && e.Runs >= int64(d.MaxRuns) {
		e.State = Finished
		return
	}
	e.Next = next.At.UTC()
	if e.State == Active {
		e.Wake = d.wake(e.Name, e.Next)
	}
}

// due are the occurrences that are to begin, oldest first, and how many before them are left out.
func (d *definition) due(cal *Calendar, e *Entry, now time.Time) (due []time.Time, missed int) {
	late := func(planned time.Time) time.Duration { return now.Sub(d.wake(e.Name, planned)) }
	misfired := late(e.Next) > d.Grace
	switch {
	case !misfired:
		return d.from(cal, e.Name, e.Next, now, stepAtMost), 0
	case d.Misfire == FireOnce:
		latest := e.Next
		for _, planned := range lastUpTo(cal, e.Next, now, stepAtMost) {
			if late(planned) >= 0 { // else it is not due yet for its jitter
				latest = planned
			}
		}
		return []time.Time{latest}, count(cal, e.Next, latest)
	case d.Misfire == FireAll:
		first := lastUpTo(cal, e.Next, now, d.MisfireCap)[0]
		return d.from(cal, e.Name, first, now, stepAtMost), count(cal, e.Next, first)
	}
	for _, planned := range lastUpTo(cal, e.Next, now, countAtMost) {
		if by := late(planned); by <= d.Grace && by >= 0 && len(due) < stepAtMost {
			due = append(due, planned)
		}
	}
	if len(due) > 0 {
		return due, count(cal, e.Next, due[0])
	}
	return nil, count(cal, e.Next, now)
}

// from are occurrences from first on, which is one, that are due now: at most n.
func (d *definition) from(cal *Calendar, name string, first, now time.Time, n int) []time.Time {
	all := []time.Time{first}
	for len(all) < n {
		next, ok := cal.Next(all[len(all)-1])
		if !ok || d.wake(name, next.At).After(now) {
			break
		}
		all = append(all, next.At.UTC())
	}
	return all
}

// count is how many occurrences there are from first until before end, at most countAtMost.
func count(cal *Calendar, first, end time.Time) (n int) {
	for t := first; t.Before(end) && n < countAtMost; n++ {
		next, ok := cal.Next(t)
		if !ok {
			return n + 1
		}
		t = next.At
	}
	return n
}

// lastUpTo are the latest n occurrences from first, which is one, up to now, oldest first; at least first. It looks back in
// ever wider steps rather than at each of the perhaps millions between.
func lastUpTo(cal *Calendar, first, now time.Time, n int) []time.Time {
	for back := time.Minute; ; back *= 8 {
		from := now.Add(-back)
		if !from.After(first) {
			from = first.Add(-time.Second)
		}
		var all []time.Time
		for t, ok := cal.Next(from); ok && !t.At.After(now); t, ok = cal.Next(t.At) {
			all = append(all, t.At.UTC())
			if len(all) > 2*n+64 {
				all = append(all[:0], all[len(all)-n:]...)
			}
		}
		switch {
		case len(all) >= n:
			return all[len(all)-n:]
		case from.Before(first):
			if len(all) == 0 {
				return []time.Time{first}
			}
			return all
		}
	}
}

// broken is a schedule that cannot be read. It stops, and says so; the others go on.
func broken(e Entry, now time.Time, err error) Step {
	problem := err.Error()
	if len(problem) > 1000 {
		problem = problem[:1000]
	}
	o := Occurrence{Schedule: e.Name, Planned: e.Next, Promoted: now, Outcome: Failed, Note: problem}
	e.Problem, e.Wake = problem, time.Time{}
	return Step{Entry: e, Occurrences: []Begun{{Occurrence: o}}}
}
