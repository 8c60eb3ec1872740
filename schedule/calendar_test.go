package schedule

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the zones are the same everywhere
)

func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}

func calendar(t testing.TB, spec, zone string) *Calendar {
	t.Helper()
	s, err := Parse(spec)
	if err != nil {
		t.Fatal(err)
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return &Calendar{Spec: s, Zone: loc}
}

// some are the first n ticks after an instant, as local times.
func some(c *Calendar, after string, n int) string {
	var out []string
	for tick := range c.Ticks(instant(after)) {
		if out = append(out, tick.At.Format("2006-01-02T15:04:05-07:00")); len(out) == n {
			break
		}
	}
	return strings.Join(out, " ")
}

func TestDays(t *testing.T) {
	for _, test := range []struct{ spec, want string }{ // days of 2026, which begins with a Thursday
		{"0 0 1 * *", "01-01 02-01 03-01 04-01"},
		{"0 0 31 * *", "01-31 03-31 05-31 07-31"},
		{"0 0 L * *", "01-31 02-28 03-31 04-30"},
		{"0 0 L-2 * *", "01-29 02-26 03-29 04-28"},
		{"0 0 LW * *", "01-30 02-27 03-31 04-30"},
		{"0 0 1W * *", "01-01 02-02 03-02 04-01"},
		{"0 0 15W * *", "01-15 02-16 03-16 04-15"},
		{"0 0 31W * *", "01-30 03-31 05-29 07-31"},
		{"0 0 * * 5L", "01-30 02-27 03-27 04-24"},
		{"0 0 * * FRI#2", "01-09 02-13 03-13 04-10"},
		{"0 0 * * 4#5", "01-01"}, // replaced below: five Thursdays
		{"0 0 * * 7", "01-04 01-11 01-18 01-25"},
		{"0 0 * * 5-7", "01-02 01-03 01-04 01-09"},
		{"0 0 13 * FRI", "01-02 01-09 01-13 01-16"}, // either, as POSIX has it
		{"0 0 13 * ?", "01-13 02-13 03-13 04-13"},
		{"0 0 */10 FEB,APR *", "02-01 02-11 02-21 04-01"},
		{"0 0 1 */6 *", "01-01 07-01"},
		{"0 0 10/10 * *", "01-10 01-20 01-30 02-10"},
	} {
		if test.spec == "0 0 * * 4#5" {
			test.want = "01-29 04-30 07-30 10-29"
		}
		var got []string
		for tick := range calendar(t, test.spec, "UTC").Ticks(instant("2025-12-31T23:59:59Z")) {
			if len(got) == len(strings.Fields(test.want)) {
				break
			}
			got = append(got, tick.At.Format("01-02"))
		}
		if s := strings.Join(got, " "); s != test.want {
			t.Errorf("%s: %s, want %s", test.spec, s, test.want)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, test := range []struct{ spec, after, want string }{
		{"*/20 * * * *", "2026-03-01T10:05:30Z", "2026-03-01T10:20:00+00:00 2026-03-01T10:40:00+00:00 2026-03-01T11:00:00+00:00"},
		{"15 30 9 * * *", "2026-03-01T09:30:15Z", "2026-03-02T09:30:15+00:00"},
		{"15 30 9 * * *", "2026-03-01T09:30:14.999Z", "2026-03-01T09:30:15+00:00"},
		{"59 59 23 31 12 *", "2026-03-01T00:00:00Z", "2026-12-31T23:59:59+00:00 2027-12-31T23:59:59+00:00"},
		{"0 0 29 2 *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00+00:00 2032-02-29T00:00:00+00:00"},
		{"0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00+00:00"},                            // 2100 is no leap year
		{"14 3 19 1 *", "2038-01-19T03:13:59Z", "2038-01-19T03:14:00+00:00 2039-01-19T03:14:00+00:00"}, // where 32 bits end
		{"0 12 31 12 *", "2040-12-31T00:00:00Z", "2040-12-31T12:00:00+00:00 2041-12-31T12:00:00+00:00"},
		{"@hourly", "2026-03-01T10:59:59Z", "2026-03-01T11:00:00+00:00 2026-03-01T12:00:00+00:00"},
		{"@weekly", "2026-03-01T00:00:00Z", "2026-03-08T00:00:00+00:00"},
		{"every 90s", "2026-03-01T10:00:00Z", "2026-03-01T10:01:30+00:00 2026-03-01T10:03:00+00:00"},
		{"every 24h", "1960-01-01T12:00:00Z", "1960-01-02T00:00:00+00:00 1960-01-03T00:00:00+00:00"},
	} {
		if got := some(calendar(t, test.spec, "UTC"), test.after, len(strings.Fields(test.want))); got != test.want {
			t.Errorf("%s after %s:\n got %s\nwant %s", test.spec, test.after, got, test.want)
		}
	}
}

// On the last day of leap years behind 2037 time.ZoneBounds answers an end that is not behind the instant that it was asked for.
func TestLastDayOfLeapYears(t *testing.T) {
	for _, zone := range zones {
		c := calendar(t, "30 12 31 12 *", zone)
		noon := func(year int) time.Time { return time.Date(year, 12, 31, 12, 30, 0, 0, c.Zone) }
		for year := 2036; year < 2110; year++ {
			for _, after := range []time.Time{noon(year).Add(-12 * time.Hour), noon(year - 1)} {
				if tick, ok := c.Next(after); !ok || !tick.At.Equal(noon(year)) {
					t.Fatalf("%s after %v: %v, want %v", zone, after, tick.At, noon(year))
				}
			}
		}
	}
}

func TestStartAnchorAndEnd(t *testing.T) {
	c := calendar(t, "every 7m", "UTC")
	c.Start, c.End = instant("2026-03-01T10:00:01.5Z"), instant("2026-03-01T10:14:02Z")
	if got := some(c, "2020-01-01T00:00:00Z", 9); got != "2026-03-01T10:00:02+00:00 2026-03-01T10:07:02+00:00" {
		t.Error(got)
	}
	c = calendar(t, "0 * * * *", "UTC")
	c.Start, c.End = instant("2026-03-01T10:00:00Z"), instant("2026-03-01T12:00:00Z")
	if got := some(c, "2026-02-01T10:00:00Z", 9); got != "2026-03-01T10:00:00+00:00 2026-03-01T11:00:00+00:00" {
		t.Error(got)
	}
	c.End = c.Start
	c.Missing, c.Repeated = 9, -1
	err := c.Check()
	for _, want := range []string{"before it starts", "Missing is 9", "Repeated is -1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, ok := (&Calendar{}).Next(time.Now()); ok {
		t.Error("the zero value is due")
	}
}

// Both ends of daylight saving time, with each policy. guarantees: C4
func TestChangesOfTheClock(t *testing.T) {
	for _, test := range []struct {
		spec, zone string
		m          Missing
		r          Repeated
		after      string
		want       string
	}{
		// Berlin goes from 02:00 to 03:00 on 29 March 2026, and from 03:00 back to 02:00 on 25 October.
		{"30 2 * * *", "Europe/Berlin", 0, 0, "2026-03-28T00:00:00Z", "2026-03-28T02:30:00+01:00 2026-03-29T03:00:00+02:00 2026-03-30T02:30:00+02:00"},
		{"30 2 * * *", "Europe/Berlin", Skip, 0, "2026-03-28T00:00:00Z", "2026-03-28T02:30:00+01:00 2026-03-30T02:30:00+02:00"},
		{"30 2 * * *", "Europe/Berlin", 0, 0, "2026-10-24T00:00:00Z", "2026-10-24T02:30:00+02:00 2026-10-25T02:30:00+02:00 2026-10-26T02:30:00+01:00"},
		{"30 2 * * *", "Europe/Berlin", 0, Last, "2026-10-24T00:00:00Z", "2026-10-24T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00"},
		{"30 2 * * *", "Europe/Berlin", 0, Both, "2026-10-24T12:00:00Z", "2026-10-25T02:30:00+02:00 2026-10-25T02:30:00+01:00 2026-10-26T02:30:00+01:00"},
		{"0,30 2 * * *", "Europe/Berlin", 0, Both, "2026-10-24T12:00:00Z", "2026-10-25T02:00:00+02:00 2026-10-25T02:30:00+02:00 2026-10-25T02:00:00+01:00 2026-10-25T02:30:00+01:00"},
		// Several in the gap are one, and the one at its end is the same.
		{"0,20,40 2,3 * * *", "Europe/Berlin", 0, 0, "2026-03-29T00:00:00Z", "2026-03-29T03:00:00+02:00 2026-03-29T03:20:00+02:00"},
		// What is due in every hour goes by the time that passes.
		{"*/30 * * * *", "Europe/Berlin", 0, 0, "2026-03-29T00:29:00Z", "2026-03-29T01:30:00+01:00 2026-03-29T03:00:00+02:00 2026-03-29T03:30:00+02:00"},
		{"15 * * * *", "Europe/Berlin", 0, 0, "2026-03-29T00:00:00Z", "2026-03-29T01:15:00+01:00 2026-03-29T03:15:00+02:00"},
		{"15 * * * *", "Europe/Berlin", FirstValid, First, "2026-03-29T00:00:00Z", "2026-03-29T01:15:00+01:00 2026-03-29T03:00:00+02:00 2026-03-29T03:15:00+02:00"},
		{"15 * * * *", "Europe/Berlin", 0, 0, "2026-10-25T00:00:00Z", "2026-10-25T02:15:00+02:00 2026-10-25T02:15:00+01:00 2026-10-25T03:15:00+01:00"},
		// Midnight itself is missing in Beirut and Santiago; half an hour on Lord Howe; a whole day in Apia.
		{"0 0 * * *", "Asia/Beirut", 0, 0, "2026-03-28T00:00:00Z", "2026-03-29T01:00:00+03:00 2026-03-30T00:00:00+03:00"},
		{"15 0 * * *", "America/Santiago", 0, 0, "2026-09-05T12:00:00Z", "2026-09-06T01:00:00-03:00 2026-09-07T00:15:00-03:00"},
		{"15 2 * * *", "Australia/Lord_Howe", 0, 0, "2026-10-03T00:00:00Z", "2026-10-04T02:30:00+11:00 2026-10-05T02:15:00+11:00"},
		{"45 1 * * *", "Australia/Lord_Howe", 0, Both, "2026-04-04T00:00:00Z", "2026-04-05T01:45:00+11:00 2026-04-05T01:45:00+10:30"},
		{"0 12 30 12 *", "Pacific/Apia", 0, 0, "2011-12-01T00:00:00Z", "2011-12-31T00:00:00+14:00 2012-12-30T12:00:00+14:00"},
		{"0 12 30 12 *", "Pacific/Apia", Skip, 0, "2011-12-01T00:00:00Z", "2012-12-30T12:00:00+14:00"},
		// Intervals do not look at the clock.
		{"every 1h", "Europe/Berlin", 0, 0, "2026-03-29T00:30:00Z", "2026-03-29T03:00:00+02:00 2026-03-29T04:00:00+02:00"},
	} {
		c := calendar(t, test.spec, test.zone)
		c.Missing, c.Repeated = test.m, test.r
		if got := some(c, test.after, len(strings.Fields(test.want))); got != test.want {
			t.Errorf("%s in %s (%d, %d) after %s:\n got %s\nwant %s", test.spec, test.zone, test.m, test.r, test.after, got, test.want)
		}
	}
}

func TestNotes(t *testing.T) {
	c := calendar(t, "30 2 * * *", "Europe/Berlin")
	c.Repeated = Both
	var got []string
	for tick := range c.Ticks(instant("2026-10-24T12:00:00Z")) {
		if got = append(got, tick.Note); len(got) == 3 {
			break
		}
	}
	if !slices.Equal(got, []string{noteFirst, noteSecond, ""}) {
		t.Errorf("%q", got)
	}
	if tick, ok := c.Next(instant("2026-03-28T12:00:00Z")); !ok || tick.Note != noteMoved {
		t.Errorf("%+v", tick)
	}
}

// zones have changes of every kind: twelve, whole and half hours, at midnight, one day, in the south, in Ramadan, and none.
var zones = []string{"Europe/Berlin", "America/New_York", "America/Santiago", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia",
	"Africa/Casablanca", "Antarctica/Troll", "Asia/Kathmandu", "America/St_Johns", "Africa/Cairo", "UTC"}

// Every minute of some weeks around each change of each zone is looked at by hand, and must be due or not as the definition says,
// for random expressions and each policy. guarantees: C4
func TestTicksAreThoseOfTheDefinition(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, uint64(len(zones))))
	rounds := 60
	if testing.Short() {
		rounds = 10
	}
	for _, zone := range zones {
		for range rounds {
			spec := randomSpec(rng)
			c := calendar(t, spec, zone)
			c.Missing, c.Repeated = Missing(1+rng.IntN(2)), Repeated(1+rng.IntN(3))
			begin := time.Date(2009+rng.IntN(25), time.Month(1+rng.IntN(12)), 1+rng.IntN(28), rng.IntN(24), rng.IntN(60), 0, 0, time.UTC)
			if _, change := begin.In(c.Zone).ZoneBounds(); !change.IsZero() && rng.IntN(3) > 0 {
				begin = change.Add(-time.Duration(rng.IntN(48*60)) * time.Minute).UTC()
			}
			begin = begin.Truncate(time.Minute)
			end := begin.Add(5 * 24 * time.Hour)
			want := byHand(c, begin, end)
			var got []string
			for tick := range c.Ticks(begin.Add(-time.Second)) {
				if !tick.At.Before(end) {
					break
				}
				got = append(got, tick.At.Format(time.RFC3339))
			}
			for i := range max(len(got), len(want)) {
				if i >= len(got) || i >= len(want) || got[i] != want[i] {
					t.Fatalf("%s in %s, missing %d, repeated %d, from %s: tick %d of %d and %d:\n got %v\nwant %v", spec, zone, c.Missing, c.Repeated, begin.Format(time.RFC3339), i, len(got), len(want),
						got[min(i, len(got)):min(i+3, len(got))], want[min(i, len(want)):min(i+3, len(want))])
				}
			}
		}
	}
}

// byHand looks at each minute.
func byHand(c *Calendar, begin, end time.Time) (out []string) {
	shown := map[string]time.Time{} // the last instant of each civil minute
	for at := begin.Add(-26 * time.Hour); at.Before(end.Add(26 * time.Hour)); at = at.Add(time.Minute) {
		shown[at.In(c.Zone).Format("2006-01-02T15:04")] = at
	}
	seen := map[string]bool{}
	for at := begin.Add(-26 * time.Hour); at.Before(end); at = at.Add(time.Minute) {
		local := at.In(c.Zone)
		name := local.Format("2006-01-02T15:04")
		again := seen[name]
		seen[name] = true
		wall := time.Date(local.Year(), local.Month(), local.Day(), local.Hour(), local.Minute(), 0, 0, time.UTC)
		due := dueAt(c.Spec.cron, wall)
		switch c.Repeated {
		case First:
			due = due && !again
		case Last:
			due = due && shown[name].Equal(at)
		}
		if before := at.Add(-time.Minute).In(c.Zone); c.Missing == FirstValid {
			was := time.Date(before.Year(), before.Month(), before.Day(), before.Hour(), before.Minute(), 0, 0, time.UTC)
			for gap := was.Add(time.Minute); gap.Before(wall); gap = gap.Add(time.Minute) {
				due = due || dueAt(c.Spec.cron, gap)
			}
		}
		if due && !at.Before(begin) {
			out = append(out, local.Format(time.RFC3339))
		}
	}
	return out
}

// dueAt says by the definitions of the signs whether a civil minute is due.
func dueAt(c *cron, wall time.Time) bool {
	if c.minute>>wall.Minute()&1 == 0 || c.hour>>wall.Hour()&1 == 0 || c.month>>wall.Month()&1 == 0 {
		return false
	}
	y, m, d := wall.Date()
	last := time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
	weekday := func(d int) time.Weekday { return time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Weekday() }
	nearest := func(n int) int {
		switch {
		case n > last:
			return 0
		case weekday(n) == time.Saturday && n == 1:
			return 3
		case weekday(n) == time.Saturday:
			return n - 1
		case weekday(n) == time.Sunday && n == last:
			return n - 2
		case weekday(n) == time.Sunday:
			return n + 1
		}
		return n
	}
	byDate, byWeekday := c.days.set>>d&1 == 1, c.weekdays.set>>weekday(d)&1 == 1
	for n := 1; n <= 31; n++ {
		byDate = byDate || c.days.nearest>>n&1 == 1 && nearest(n) == d || c.days.before>>(n-1)&1 == 1 && d == last-(n-1)
	}
	byDate = byDate || c.days.lastW && nearest(last) == d
	var of []int // the month's days of this weekday
	for n := 1; n <= last; n++ {
		if weekday(n) == weekday(d) {
			of = append(of, n)
		}
	}
	byWeekday = byWeekday || c.weekdays.last>>weekday(d)&1 == 1 && of[len(of)-1] == d
	for k := 1; k <= 5; k++ {
		byWeekday = byWeekday || c.weekdays.nth[k]>>weekday(d)&1 == 1 && k <= len(of) && of[k-1] == d
	}
	switch {
	case c.days.any && c.weekdays.any:
		return true
	case c.days.any:
		return byWeekday
	case c.weekdays.any:
		return byDate
	}
	return byDate || byWeekday
}

func randomSpec(rng *rand.Rand) string {
	pick := func(all ...string) string { return all[rng.IntN(len(all))] }
	n := func(lo, hi int) int { return lo + rng.IntN(hi-lo+1) }
	minute := pick("0", "30", "*/15", fmt.Sprint(n(0, 59)), "5-50/9", "0,1,59")
	hour := pick("*", "0", "2", fmt.Sprint(n(0, 3)), "1-3", "*/2", "23,0,1", "0-23")
	date := pick("*", "*", "*", "?", fmt.Sprint(n(1, 28)), "L", "LW", "L-1", fmt.Sprintf("%dW", n(1, 28)), "1W", "*/2", "31,1,15")
	weekday := pick("*", "*", "*", "?", "SUN", "1-5", fmt.Sprintf("%dL", n(0, 7)), fmt.Sprintf("%d#%d", n(0, 7), n(1, 5)), "6,7")
	return strings.Join([]string{minute, hour, date, pick("*", "*", "*", "1-6", "*/2", "MAR,SEP,OCT"), weekday}, " ")
}
