package crontest

import (
	"sort"
	"testing"
	"time"
	_ "time/tzdata" // the zones are there on every machine
)

// zone is a clock with its changes, found by looking at it every six hours.
type zone struct {
	name    string
	loc     *time.Location
	changes []change
}

// change is one of a clock, with the seconds by which it is before UTC on both sides.
type change struct {
	at            time.Time
	before, after int
}

// Years that are looked at. Before 1985 clocks change by odd seconds.
const firstYear, lastYear = 1985, 2101

// look is how far from a change its consequences reach.
const look = 26 * time.Hour

func newZone(t testing.TB, name string) *zone {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	z := &zone{name: name, loc: loc}
	at := time.Date(firstYear, 1, 1, 0, 0, 0, 0, time.UTC)
	for before := z.offset(at); at.Year() <= lastYear; at = at.Add(6 * time.Hour) {
		after := z.offset(at)
		if after == before {
			continue
		}
		from := at.Add(-6 * time.Hour)
		second := sort.Search(6*3600, func(s int) bool { return z.offset(from.Add(time.Duration(s)*time.Second)) == after })
		z.changes = append(z.changes, change{from.Add(time.Duration(second) * time.Second), before, after})
		before = after
	}
	return z
}

// offset is the seconds by which the clock is before UTC.
func (z *zone) offset(at time.Time) int {
	_, s := at.In(z.loc).Zone()
	return s
}

// wall is what the clock shows, as a time in UTC.
func (z *zone) wall(at time.Time) time.Time {
	return at.UTC().Add(time.Duration(z.offset(at)) * time.Second)
}

// near is the change that is nearest to an instant, if there is one within some time.
func (z *zone) near(at time.Time, within time.Duration) *change {
	i := sort.Search(len(z.changes), func(i int) bool { return z.changes[i].at.After(at) })
	var found *change
	for _, i := range []int{i - 1, i} {
		if i >= 0 && i < len(z.changes) && at.Sub(z.changes[i].at).Abs() <= within {
			if c := &z.changes[i]; found == nil || at.Sub(c.at).Abs() < at.Sub(found.at).Abs() {
				found = c
			}
		}
	}
	return found
}

// again reports whether the clock has shown the same time before.
func (z *zone) again(at time.Time) bool {
	c := z.near(at, look)
	return c != nil && !at.Before(c.at) && at.Before(c.at.Add(time.Duration(c.before-c.after)*time.Second))
}

// inGap reports whether something is due in what a change leaves out.
func (z *zone) inGap(e *expression, c *change) bool {
	for s := c.before; s < c.after; s += 60 {
		if e.at(c.at.UTC().Add(time.Duration(s) * time.Second)) {
			return true
		}
	}
	return false
}

// next finds the first due instant after one by looking at the clock again and again, and jumps only over days, hours and minutes
// that are not due and have no change near them. policies are those of Sixfold; without them everything is due that the clock
// shows. false: not within 45 years.
func (z *zone) next(e *expression, after time.Time, policies bool) (time.Time, bool) {
	policies = policies && !e.everyHour
	for at, end := after.Truncate(time.Second).Add(time.Second), after.AddDate(45, 0, 0); at.Before(end); {
		wall, c := z.wall(at), z.near(at, look)
		minute := at.Add(time.Duration(60-wall.Second()) * time.Second)
		switch {
		case c == nil && !e.day(wall):
			at = at.Add(24*time.Hour - wall.Sub(wall.Truncate(24*time.Hour)))
			continue
		case c == nil && !e.hour[wall.Hour()]:
			at = at.Add(time.Hour - wall.Sub(wall.Truncate(time.Hour)))
			continue
		case policies && c != nil && at.Equal(c.at) && z.inGap(e, c):
			return at, true
		case !e.at(wall) || policies && z.again(at):
			at = minute
			continue
		}
		if e.second[wall.Second()] {
			return at, true
		}
		at = at.Add(time.Second)
	}
	return time.Time{}, false
}

// leavesOutDay reports whether a change between two instants, or a day beside them, leaves out half a day or more.
func (z *zone) leavesOutDay(from, to time.Time) bool {
	for _, c := range z.changes {
		if c.after-c.before >= 12*3600 && c.at.After(from.Add(-48*time.Hour)) && c.at.Before(to.Add(48*time.Hour)) {
			return true
		}
	}
	return false
}
