package crontest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// expression is a text together with what it means, which no parser has told.
type expression struct {
	text                        string // five fields, or six
	second, minute, hour, month []bool
	date, weekday               func(day time.Time) bool // nil: any
	seconds                     bool                     // six fields
	everyHour                   bool                     // no hour is named
	signs                       bool                     // it has L, W or #
	star                        bool                     // both kinds of days are restricted, and that of the month begins with */
	both                        bool                     // a day must satisfy both fields of days, as some read that
}

// day reports whether a civil day is due.
func (e *expression) day(wall time.Time) bool {
	switch {
	case !e.month[wall.Month()]:
		return false
	case e.date == nil && e.weekday == nil:
		return true
	case e.date == nil:
		return e.weekday(wall)
	case e.weekday == nil:
		return e.date(wall)
	}
	if e.both {
		return e.date(wall) && e.weekday(wall)
	}
	return e.date(wall) || e.weekday(wall)
}

// at reports whether a civil minute has due seconds.
func (e *expression) at(wall time.Time) bool {
	return e.minute[wall.Minute()] && e.hour[wall.Hour()] && e.day(wall)
}

// random makes an expression of signs that both sides know.
func random(rng *rand.Rand) *expression {
	e := &expression{}
	var fields []string
	add := func(text string) { fields = append(fields, text) }
	field := func(text string, set []bool) []bool { add(text); return set }
	if e.seconds = rng.IntN(8) == 0; e.seconds {
		e.second = field(some(rng, 0, 59, 59))
	} else {
		e.second = one(0, 59)
	}
	e.minute = field(some(rng, 0, 59, 59))
	switch rng.IntN(6) {
	case 0: // every hour
		e.hour = field("*", all(0, 23))
	case 1, 2, 3: // near midnight, and where most clocks change
		h := []int{0, 1, 2, 3, 23}[rng.IntN(5)]
		e.hour = field(fmt.Sprint(h), one(h, 23))
	default:
		e.hour = field(some(rng, 0, 23, 23))
	}
	e.everyHour = count(e.hour) == 24
	text, date := dates(rng)
	add(text)
	e.date = date
	if rng.IntN(3) > 0 {
		e.month = field("*", all(1, 12))
	} else {
		e.month = field(some(rng, 1, 12, 12))
	}
	text, weekday := weekdays(rng)
	add(text)
	e.weekday = weekday
	e.text = strings.Join(fields, " ")
	e.signs = strings.ContainsAny(strings.ReplaceAll(e.text, "WED", ""), "LW#")
	e.star = strings.HasPrefix(fields[len(fields)-3], "*/") && e.weekday != nil
	return e
}

// some is a field of numbers of low to high.
func some(rng *rand.Rand, low, high, size int) (string, []bool) {
	n := func() int { return low + rng.IntN(high-low+1) }
	switch rng.IntN(5) {
	case 0:
		return "*", all(low, size)
	case 1:
		step, set := 2+rng.IntN((high-low)/2), make([]bool, size+1)
		for v := low; v <= high; v += step {
			set[v] = true
		}
		return fmt.Sprintf("*/%d", step), set
	case 2:
		a, b := n(), n()
		set := make([]bool, size+1)
		for v := min(a, b); v <= max(a, b); v++ {
			set[v] = true
		}
		return fmt.Sprintf("%d-%d", min(a, b), max(a, b)), set
	case 3:
		a, b := n(), n()
		set := one(a, size)
		set[b] = true
		return fmt.Sprintf("%d,%d", a, b), set
	}
	a := n()
	return fmt.Sprint(a), one(a, size)
}

// dates is a field of days of the month.
func dates(rng *rand.Rand) (string, func(time.Time) bool) {
	last := func(day time.Time) int { return time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day() }
	n := 1 + rng.IntN(31)
	switch rng.IntN(8) {
	case 0:
		return "31", func(day time.Time) bool { return day.Day() == 31 }
	case 1:
		return "29", func(day time.Time) bool { return day.Day() == 29 }
	case 2:
		return "L", func(day time.Time) bool { return day.Day() == last(day) }
	case 3:
		return fmt.Sprintf("%dW", n), func(day time.Time) bool { return n <= last(day) && day.Day() == nearest(n, day) }
	case 4:
		text, set := some(rng, 1, 31, 31)
		if count(set) == 31 {
			return "*", nil
		}
		return text, func(day time.Time) bool { return set[day.Day()] }
	}
	return "*", nil
}

// nearest is the day of work nearest to the n-th, in the month of a day.
func nearest(n int, day time.Time) int {
	for _, d := range []int{n, n - 1, n + 1, n - 2, n + 2} {
		if t := time.Date(day.Year(), day.Month(), d, 0, 0, 0, 0, time.UTC); t.Month() == day.Month() && t.Weekday() != time.Saturday && t.Weekday() != time.Sunday {
			return d
		}
	}
	return 0
}

// weekdays is a field of days of the week.
func weekdays(rng *rand.Rand) (string, func(time.Time) bool) {
	w := time.Weekday(rng.IntN(7))
	switch rng.IntN(60) {
	case 0, 1, 2, 3, 4, 5:
		return strings.ToUpper(w.String()[:3]), func(day time.Time) bool { return day.Weekday() == w }
	case 6, 7, 8, 9, 10, 11:
		return "1-5", func(day time.Time) bool { return day.Weekday() != time.Saturday && day.Weekday() != time.Sunday }
	case 12:
		return fmt.Sprintf("%dL", w), func(day time.Time) bool { return day.Weekday() == w && day.AddDate(0, 0, 7).Month() != day.Month() }
	case 13:
		k := 1 + rng.IntN(5)
		return fmt.Sprintf("%d#%d", w, k), func(day time.Time) bool {
			return day.Weekday() == w && day.AddDate(0, 0, -7*k).Month() != day.Month() && day.AddDate(0, 0, -7*(k-1)).Month() == day.Month()
		}
	}
	return "*", nil
}

func all(low, size int) []bool {
	set := make([]bool, size+1)
	for v := low; v <= size; v++ {
		set[v] = true
	}
	return set
}

func one(v, size int) []bool {
	set := make([]bool, size+1)
	set[v] = true
	return set
}

func count(set []bool) (n int) {
	for _, in := range set {
		if in {
			n++
		}
	}
	return n
}
