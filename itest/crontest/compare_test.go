// Package crontest compares schedule with another library.
package crontest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/adhocore/gronx"
	"github.com/robfig/cron/v3"

	"github.com/sixfold-go/sixfold/schedule"
)

// zones have changes of every kind: of an hour, of half (Lord Howe), a quarter (Kathmandu) and two (Troll); at midnight (Beirut, Cairo,
// Santiago, São Paulo); at a minute past it (St. John's until 2011); a day that is left out (Apia); twice a year for Ramadan (Casablanca).
var zones = []string{"Europe/Berlin", "America/New_York", "America/Santiago", "America/Sao_Paulo", "America/St_Johns", "Asia/Beirut", "Africa/Cairo",
	"Africa/Casablanca", "Australia/Lord_Howe", "Antarctica/Troll", "Pacific/Apia", "Asia/Kathmandu", "UTC"}

// Why two answer differently. Each is checked for each difference; one that is none of these fails the test.
const (
	gap         = "gap"         // due at the first instant behind a gap here; there it falls out
	overlap     = "overlap"     // due once here; there again when the clock shows it for the second time
	givesUp     = "gives up"    // there nothing is found, because it is years ahead, or a change led astray
	bothDays    = "both days"   // there a day must satisfy both fields of days where one begins with */
	passes      = "passes over" // there a time is passed over that the clock shows, near a change
	notDue      = "not due"     // there an instant is answered, near a change, whose clock shows something else than the expression says
	goesBack    = "goes back"   // there an instant is answered, near a change, that is not after the one that was asked for
	noAnswer    = "no answer"   // there the search never ends: a whole day is left out in between. It is not asked
	unexplained = "unexplained"
)

var classes = []string{gap, overlap, givesUp, bothDays, passes, notDue, goesBack, noAnswer}

// beside is how far from a change it still confuses the others, which go to the day before and behind.
const beside = 72 * time.Hour

// why explains a difference. ours is right already: it is what looking at the clock has found. A zero theirs is no answer.
func (z *zone) why(p *peer, e *expression, after, ours, theirs time.Time) string {
	if theirs.IsZero() {
		return whenTrue(ours.Sub(after) > p.years*365*24*time.Hour || z.near(after, beside) != nil, givesUp)
	}
	class := ""
	if e.star && p.starIsBoth {
		own := *e
		own.both, e, class = true, &own, bothDays
	}
	shown, ok := z.next(e, after, false)
	if !ok {
		return unexplained
	}
	if theirs.Equal(shown) && class != "" {
		return class
	}
	near := false
	for _, at := range []time.Time{after, ours, theirs, shown} {
		near = near || z.near(at, beside) != nil
	}
	switch wall := z.wall(theirs); {
	case !theirs.After(after):
		return whenTrue(near, goesBack)
	case !e.at(wall) || !e.second[wall.Second()]:
		return whenTrue(near, notDue)
	case theirs.After(shown):
		return whenTrue(near, passes)
	case !theirs.Equal(shown):
		return unexplained
	}
	// There the clock is taken at its word; here a policy is not to.
	if c := z.near(ours, 0); c != nil && c.after > c.before && z.inGap(e, c) {
		return gap
	}
	return whenTrue(z.again(theirs), overlap)
}

func whenTrue(ok bool, class string) string {
	if ok {
		return class
	}
	return unexplained
}

// instants are where things go wrong: around changes, the ends of February and of months, and of 32 bits; and anywhere.
func (z *zone) instant(rng *rand.Rand) time.Time {
	within := func(at time.Time, d time.Duration) time.Time {
		return at.Add(time.Duration(rng.Int64N(int64(2*d/time.Second)))*time.Second - d)
	}
	year := firstYear + 1 + rng.IntN(2098-firstYear)
	switch k := rng.IntN(20); {
	case k < 15 && len(z.changes) > 0:
		at := z.changes[rng.IntN(len(z.changes))].at
		return within(at, []time.Duration{2 * time.Hour, 6 * time.Hour, 60 * time.Hour}[k%3])
	case k == 15:
		return within(time.Date(2038, 1, 19, 3, 14, 7, 0, time.UTC), 48*time.Hour)
	case k == 16:
		return within(time.Date(year, 3, 1, 0, 0, 0, 0, time.UTC), 72*time.Hour)
	case k == 17:
		return within(time.Date(year, time.Month(1+rng.IntN(12)), 31, 0, 0, 0, 0, time.UTC), 72*time.Hour)
	case k == 18:
		return within(time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), 1000*time.Hour)
	}
	return time.Date(year, time.Month(1+rng.IntN(12)), 1+rng.IntN(31), rng.IntN(24), rng.IntN(60), rng.IntN(60), 0, time.UTC)
}

// peer is another library.
type peer struct {
	name       string
	every      int           // of so many triples it gets one
	signs      bool          // it knows L, W and #
	starIsBoth bool          // see bothDays
	needsDays  bool          // see noAnswer
	years      time.Duration // from how many years ahead on it finds nothing
	next       func(text string) (func(after time.Time) time.Time, error)
}

// robfig/cron is what most programs in Go use, but it has had no release since 2020. gronx is maintained, and a hundred times slower,
// since it reads the text again for each step. hashicorp/cronexpr is left out: near some changes (seen in 1988) its search never ends,
// and no rule says near which.
var peers = []*peer{
	{name: "robfig/cron v3.0.1", every: 1, needsDays: true, years: 4, next: func(text string) (func(time.Time) time.Time, error) {
		s, err := cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
		if err != nil {
			return nil, err
		}
		return s.Next, nil
	}},
	{name: "adhocore/gronx v1.20.4", every: 100, signs: true, starIsBoth: true, next: func(text string) (func(time.Time) time.Time, error) {
		return func(after time.Time) time.Time {
			t, err := gronx.NextTickAfter(text, after, false)
			if err != nil {
				return time.Time{}
			}
			return t
		}, nil
	}},
}

// tally counts the differences by zone and class, and keeps the first of each as an example.
type tally struct {
	asked   int
	count   map[[2]string]int
	example map[string]string
	wrong   []string // what schedule answers, and should not
}

// compare asks about many triples. change is a hook that spoils a calendar.
func compare(t *testing.T, triples int, change func(*schedule.Calendar)) []*tally {
	t.Helper()
	rng := rand.New(rand.NewPCG(20261122, 7))
	var clocks []*zone
	for _, name := range zones {
		clocks = append(clocks, newZone(t, name))
	}
	var all []*tally
	for range peers {
		all = append(all, &tally{0, map[[2]string]int{}, map[string]string{}, nil})
	}
	for n := 0; n < triples; {
		e := random(rng)
		spec, err := schedule.Parse(e.text)
		if err != nil {
			if !strings.Contains(err.Error(), "never due") {
				t.Fatal(err)
			}
			continue
		}
		if !e.signs {
			n += 10
		}
		for range 10 {
			z := clocks[rng.IntN(len(clocks))]
			after := z.instant(rng).In(z.loc)
			cal := schedule.Calendar{Spec: spec, Zone: z.loc}
			change(&cal)
			for i, p := range peers {
				if rng.IntN(p.every) > 0 || e.signs && !p.signs {
					continue
				}
				next, err := p.next(e.text)
				if err != nil {
					t.Fatalf("%s: %s: %v", p.name, e.text, err)
				}
				check := rng.IntN(20) == 0
				tick, _ := cal.Next(after)
				if p.needsDays && z.leavesOutDay(after, tick.At) {
					all[i].asked++
					all[i].count[[2]string{z.name, noAnswer}]++
					continue
				}
				all[i].one(p, e, z, after, tick.At, next(after), check)
			}
		}
	}
	return all
}

// one counts one triple. What both agree on is looked at when check says so.
func (a *tally) one(p *peer, e *expression, z *zone, after, ours, theirs time.Time, check bool) {
	a.asked++
	same := theirs.Equal(ours)
	if same && !check {
		return
	}
	show := func(t time.Time) string { return t.In(z.loc).Format(time.RFC3339) }
	if want, ok := z.next(e, after, true); !ok || !want.Equal(ours) {
		a.wrong = append(a.wrong, fmt.Sprintf("%q in %s after %s is %s, want %s", e.text, z.name, show(after), show(ours), show(want)))
		return
	}
	if same {
		return
	}
	class := z.why(p, e, after, ours, theirs)
	a.count[[2]string{z.name, class}]++
	if _, seen := a.example[class]; !seen || class == unexplained && len(a.example[class]) < 2000 {
		a.example[class] += fmt.Sprintf("%q in %s after %s: here %s, there %s\n", e.text, z.name, show(after), show(ours), show(theirs))
	}
}

// table is the counts, zone by zone, and the sum of each class.
func (a *tally) table() (string, map[string]int) {
	var b strings.Builder
	sum := map[string]int{}
	line := func(head string, cell func(class string) any) {
		fmt.Fprintf(&b, "%-20s", head)
		for _, class := range classes {
			fmt.Fprintf(&b, "%13v", cell(class))
		}
		b.WriteByte('\n')
	}
	line("", func(class string) any { return class })
	for _, name := range zones {
		line(name, func(class string) any {
			n := a.count[[2]string{name, class}]
			sum[class] += n
			return n
		})
	}
	line("all", func(class string) any { return sum[class] })
	return b.String(), sum
}

// 100,000 triples of expression, zone and instant, most of them near a change of the clock, on which schedule and another library
// answer the same, or differently for a reason that is known and checked. guarantees: C4
func TestDifferencesAreExplained(t *testing.T) {
	triples := 100_000
	if testing.Short() {
		triples = 10_000
	}
	for i, a := range compare(t, triples, func(*schedule.Calendar) {}) {
		for _, text := range a.wrong[:min(len(a.wrong), 10)] {
			t.Error(text)
		}
		table, sum := a.table()
		t.Logf("%s: %d triples\n%s", peers[i].name, a.asked, table)
		for _, class := range classes {
			if sum[class] > 0 {
				t.Logf("%s: %s", class, a.example[class])
			}
			if n := a.count[[2]string{"UTC", class}]; n > 0 && class != givesUp && class != bothDays {
				t.Errorf("%s: UTC never changes, and %d differences are %s", peers[i].name, n, class)
			}
		}
		if text := a.example[unexplained]; text != "" {
			t.Errorf("%s: unexplained:\n%s", peers[i].name, text)
		}
		if peers[i].every == 1 && !testing.Short() {
			a.everywhere(t)
		}
	}
}

// everywhere: what our policies do is seen in each zone whose clock changes that way. A comparison that does not see it looks elsewhere.
func (a *tally) everywhere(t *testing.T) {
	t.Helper()
	for _, name := range zones {
		z := newZone(t, name)
		forward := slices.ContainsFunc(z.changes, func(c change) bool { return c.after > c.before })
		back := slices.ContainsFunc(z.changes, func(c change) bool { return c.after < c.before })
		gaps, overlaps := a.count[[2]string{name, gap}], a.count[[2]string{name, overlap}]
		if forward != (gaps > 0) || back != (overlaps > 0) {
			t.Errorf("%s: forward %t, back %t, and %d gaps and %d overlaps were seen", name, forward, back, gaps, overlaps)
		}
	}
}

// The comparison can fail: a calendar that skips gaps, one that repeats itself and one that is late are found out.
func TestComparisonFindsWrongPolicies(t *testing.T) {
	for name, spoil := range map[string]func(*schedule.Calendar){
		"Skip": func(c *schedule.Calendar) { c.Missing = schedule.Skip },
		"Both": func(c *schedule.Calendar) { c.Repeated = schedule.Both },
		"Last": func(c *schedule.Calendar) { c.Repeated = schedule.Last },
		"late": func(c *schedule.Calendar) { c.Start = time.Date(1995, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		if a := compare(t, 1_500, spoil)[0]; len(a.wrong) == 0 && a.example[unexplained] == "" {
			t.Errorf("%s was not found out", name)
		}
	}
}
