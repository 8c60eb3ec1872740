package schedule

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/sixfold-go/sixfold"
)

// Missing says what becomes of a time that a clock which goes forward leaves out.
type Missing int

const (
	// MissingAuto is FirstValid for an expression that names hours, and Skip for one that is due in every hour, which goes by the
	// time that passes.
	MissingAuto Missing = iota
	// FirstValid is due at the first instant behind the gap, once for all that lay in it.
	FirstValid
	// Skip is not due.
	Skip
)

// Repeated says what becomes of a time that a clock which goes back shows twice.
type Repeated int

const (
	// RepeatedAuto is First for an expression that names hours, and Both for one that is due in every hour.
	RepeatedAuto Repeated = iota
	First
	Last
	Both
)

// Calendar is a Spec in a zone. The zero value is never due. It may be copied, and used by several goroutines.
type Calendar struct {
	Spec Spec
	// Zone whose clocks the expression means. Nil: UTC.
	Zone *time.Location
	// Missing and Repeated are for the changes of that clock. Intervals ("every") go by the time that passes.
	Missing  Missing
	Repeated Repeated
	// Start is the first instant that may be due, and the anchor of intervals; zero: no bound, and intervals since 1970-01-01T00:00Z.
	// End is the first that may not; zero: no bound.
	Start, End time.Time
}

// Tick is an instant that is due.
type Tick struct {
	// At is in the calendar's zone, in whole seconds.
	At time.Time
	// Note says what a change of the clock has to do with it: it begins with "gap: " or "overlap: ", and goes on for people. Else it is
	// empty.
	Note string
}

// Notes of ticks. The word before the colon is for programs.
const (
	noteMoved  = "gap: the clock goes forward; this stands for a time that it leaves out"
	noteFirst  = "overlap: the clock goes back; this is the first of two such times"
	noteSecond = "overlap: the clock goes back; this is the second of two such times"
)

// Check says everything that is wrong. The error wraps sixfold.ErrInvalid.
func (c *Calendar) Check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("schedule: calendar: %w: "+format, append([]any{sixfold.ErrInvalid}, args...)...))
	}
	if c.Spec.IsZero() {
		bad("it has no Spec; make one with Parse")
	}
	if c.Missing < MissingAuto || c.Missing > Skip {
		bad("Missing is %d; give FirstValid or Skip", int(c.Missing))
	}
	if c.Repeated < RepeatedAuto || c.Repeated > Both {
		bad("Repeated is %d; give First, Last or Both", int(c.Repeated))
	}
	if !c.Start.IsZero() && !c.End.IsZero() && !c.End.After(c.Start) {
		bad("it ends at %v, before it starts; give a later End", c.End.UTC().Format(time.RFC3339))
	}
	return errors.Join(errs...)
}

// Next is the first tick after an instant. false: there is none, because the calendar has ended.
func (c *Calendar) Next(after time.Time) (Tick, bool) {
	zone := c.Zone
	if zone == nil {
		zone = time.UTC
	}
	at := after.Truncate(time.Second).Add(time.Second)
	if at.Before(c.Start) {
		if at = c.Start.Truncate(time.Second); at.Before(c.Start) {
			at = at.Add(time.Second)
		}
	}
	var tick Tick
	ok := false
	switch {
	case c.Spec.every > 0:
		tick, ok = Tick{At: c.interval(at).In(zone)}, true
	case c.Spec.cron != nil:
		tick, ok = c.onClock(at.In(zone))
	}
	if !ok || !c.End.IsZero() && !tick.At.Before(c.End) {
		return Tick{}, false
	}
	return tick, true
}

// Ticks are those after an instant, in their order, until the calendar ends or the caller stops.
func (c *Calendar) Ticks(after time.Time) iter.Seq[Tick] {
	return func(yield func(Tick) bool) {
		for t, ok := c.Next(after); ok && yield(t); t, ok = c.Next(t.At) {
		}
	}
}

// interval is the first multiple of the interval from at on. It counts in seconds, since the years between two instants may be
// more than a time.Duration holds.
func (c *Calendar) interval(at time.Time) time.Time {
	anchor := c.Start
	if anchor.IsZero() {
		anchor = time.Unix(0, 0)
	}
	if anchor.Nanosecond() > 0 {
		anchor = anchor.Truncate(time.Second).Add(time.Second)
	}
	by := int64(c.Spec.every / time.Second)
	since := at.Unix() - anchor.Unix()
	n := since / by
	if since%by > 0 {
		n++
	}
	return time.Unix(anchor.Unix()+n*by, 0)
}

// onClock is the first tick from at on. It goes from one change of the zone's clock to the next: between two of them, civil time
// and time that passes differ by a constant.
func (c *Calendar) onClock(at time.Time) (Tick, bool) {
	missing, repeated := c.Missing, c.Repeated
	if missing == MissingAuto {
		missing = map[bool]Missing{true: Skip, false: FirstValid}[c.Spec.cron.anyHour]
	}
	if repeated == RepeatedAuto {
		repeated = map[bool]Repeated{true: Both, false: First}[c.Spec.cron.anyHour]
	}
	for limit := at.AddDate(cycle, 0, 0); at.Before(limit); {
		start, end := bounds(at)
		offset := offsetOf(at)
		back, forward := time.Duration(0), time.Duration(0) // by which the clock went at start
		if !start.IsZero() {
			if by := offset - offsetOf(start.Add(-time.Second)); by > 0 {
				forward = by
			} else {
				back = -by
			}
		}
		if forward > 0 && missing == FirstValid && at.Equal(start) {
			gap := civil(start, offset)
			if _, in := c.Spec.cron.next(gap.Add(-forward), gap); in {
				return Tick{At: start, Note: noteMoved}, true
			}
		}
		again := time.Duration(0) // by which it goes back at end
		to := limit
		if !end.IsZero() {
			to = end
			again = max(offset-offsetOf(end), 0)
		}
		from, until := civil(at, offset), civil(to, offset)
		for {
			found, ok := c.Spec.cron.next(from, until)
			if !ok {
				break
			}
			t := Tick{At: found.Add(-offset).In(at.Location())}
			second := back > 0 && found.Before(civil(start, offset).Add(back))
			first := again > 0 && !found.Before(until.Add(-again))
			switch {
			case second && repeated == First, first && repeated == Last:
				from = found.Add(time.Second)
				continue
			case second:
				t.Note = noteSecond
			case first:
				t.Note = noteFirst
			}
			return t, true
		}
		if end.IsZero() {
			break
		}
		at = end
	}
	return Tick{}, false
}

// bounds are the changes of the clock around t, as ZoneBounds knows them: zero where there is none, and sometimes an instant at which
// nothing changes. In the years that a zone's file does not list but has a rule for, ZoneBounds ends each year after 365 days, so on
// the last day of a leap year it answers an end that is not behind t.
func bounds(t time.Time) (start, end time.Time) {
	start, end = t.ZoneBounds()
	if !end.IsZero() && !end.After(t) {
		end = t.Add(time.Hour)
	}
	return start, end
}

// offsetOf is by how much the zone is before UTC at t.
func offsetOf(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// civil is what a clock shows at t that is by offset before UTC, as a time in UTC.
func civil(t time.Time, offset time.Duration) time.Time { return t.UTC().Add(offset) }
