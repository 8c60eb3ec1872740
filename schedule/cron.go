package schedule

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// cron is an expression, as sets of values: bit n is value n.
type cron struct {
	second, minute, hour uint64
	month                uint64
	days                 monthDays
	weekdays             weekDays
	anyHour              bool // no hour is named
}

// monthDays are days of the month.
type monthDays struct {
	any     bool
	set     uint64
	before  uint64 // bit n: the n-th day before the last one; bit 0 is L
	nearest uint64 // bit n: nW
	lastW   bool   // LW
}

// weekDays are days of the week.
type weekDays struct {
	any  bool
	set  uint64
	last uint64    // bit n: nL
	nth  [6]uint64 // of 1 to 5, bit n: n#k
}

// field is what one field may hold.
type field struct {
	name     string
	min, max int
	names    []string // of values from min on, in upper case
}

var (
	seconds  = field{name: "second", max: 59}
	minutes  = field{name: "minute", max: 59}
	hours    = field{name: "hour", max: 23}
	dates    = field{name: "day of the month", min: 1, max: 31}
	months   = field{name: "month", min: 1, max: 12, names: []string{"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}}
	weekdays = field{name: "day of the week", max: 7, names: []string{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}}
)

// parseCron reads five or six fields.
func parseCron(fields []string) (*cron, error) {
	switch len(fields) {
	case 5:
		fields = append([]string{"0"}, fields...)
	case 6:
	default:
		return nil, fmt.Errorf("it has %d fields; write five (minute hour day month weekday), or six with the seconds in front", len(fields))
	}
	c := &cron{}
	var errs [6]error
	c.second, errs[0] = seconds.set(fields[0])
	c.minute, errs[1] = minutes.set(fields[1])
	c.hour, errs[2] = hours.set(fields[2])
	c.days, errs[3] = parseDays(fields[3])
	c.month, errs[4] = months.set(fields[4])
	c.weekdays, errs[5] = parseWeekdays(fields[5])
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	c.anyHour = bits.OnesCount64(c.hour) == 24
	if !c.ever() {
		return nil, errors.New("it is never due: no month of these has such a day; correct the day or the month")
	}
	return c, nil
}

// set reads a field without the signs of days.
func (f *field) set(text string) (uint64, error) {
	var all uint64
	for part := range strings.SplitSeq(text, ",") {
		set, err := f.part(part)
		if err != nil {
			return 0, err
		}
		all |= set
	}
	return all, nil
}

// part reads *, a value, a range, each with or without a step.
func (f *field) part(text string) (uint64, error) {
	body, by, stepped := strings.Cut(text, "/")
	step := 1
	if stepped {
		n, err := number(by)
		if err != nil || n < 1 || n > f.max {
			return 0, fmt.Errorf("%s %.32q: the step is no number of 1 to %d", f.name, text, f.max)
		}
		step = n
	}
	from, to := f.min, f.max
	switch low, high, ranged := strings.Cut(body, "-"); {
	case body == "*":
		if f.names != nil && f.max == 7 {
			to = 6
		}
	case ranged:
		var err error
		if from, err = f.value(low, text); err != nil {
			return 0, err
		}
		if to, err = f.value(high, text); err != nil {
			return 0, err
		}
		if from > to {
			return 0, fmt.Errorf("%s %.32q: the range ends before it begins; write it as two, %s-%d,%d-%s", f.name, text, low, f.last(), f.min, high)
		}
	default:
		var err error
		if from, err = f.value(body, text); err != nil {
			return 0, err
		}
		if to = from; stepped {
			to = f.last()
		}
	}
	var set uint64
	for v := from; v <= to; v += step {
		set |= 1 << v
	}
	return set, nil
}

// last is the highest value that is not another one's second name.
func (f *field) last() int {
	if f.max == 7 {
		return 6
	}
	return f.max
}

func (f *field) value(text, part string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(text, name) {
			return f.min + i, nil
		}
	}
	n, err := number(text)
	if err != nil || n < f.min || n > f.max {
		names := ""
		if f.names != nil {
			names = ", or a name from " + f.names[0] + " to " + f.names[len(f.names)-1]
		}
		return 0, fmt.Errorf("%s %.32q: give numbers of %d to %d%s", f.name, part, f.min, f.max, names)
	}
	return n, nil
}

// number is of digits alone: Atoi would take signs.
func number(text string) (int, error) {
	if text == "" || len(text) > 4 || strings.Trim(text, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(text)
}

func parseDays(text string) (monthDays, error) {
	d := monthDays{any: text == "*" || text == "?"}
	if d.any {
		return d, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		upper := strings.ToUpper(part)
		near, isNear := strings.CutSuffix(upper, "W")
		back, isBack := strings.CutPrefix(upper, "L-")
		switch {
		case upper == "L":
			d.before |= 1
		case upper == "LW" || upper == "WL":
			d.lastW = true
		case isBack:
			n, err := number(back)
			if err != nil || n < 1 || n > 30 {
				return d, fmt.Errorf("day of the month %.32q: give 1 to 30 days before the last one", part)
			}
			d.before |= 1 << n
		case isNear:
			n, err := dates.value(near, part)
			if err != nil {
				return d, err
			}
			d.nearest |= 1 << n
		default:
			set, err := dates.part(part)
			if err != nil {
				return d, err
			}
			d.set |= set
		}
	}
	return d, nil
}

func parseWeekdays(text string) (weekDays, error) {
	w := weekDays{any: text == "*" || text == "?"}
	if w.any {
		return w, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		day, nth, isNth := strings.Cut(part, "#")
		last, isLast := strings.CutSuffix(strings.ToUpper(part), "L")
		switch {
		case isNth:
			v, err := weekdays.value(day, part)
			if err != nil {
				return w, err
			}
			n, err := number(nth)
			if err != nil || n < 1 || n > 5 {
				return w, fmt.Errorf("day of the week %.32q: give the first to the fifth of a month, #1 to #5", part)
			}
			w.nth[n] |= 1 << (v % 7)
		case isLast && last != "":
			v, err := weekdays.value(last, part)
			if err != nil {
				return w, err
			}
			w.last |= 1 << (v % 7)
		default:
			set, err := weekdays.part(part)
			if err != nil {
				return w, err
			}
			w.set |= set&0x7f | set>>7&1
		}
	}
	return w, nil
}

// on reports whether a day is due. day has no time of day and is in UTC, as all civil times here.
func (c *cron) on(day time.Time) bool {
	if c.month>>day.Month()&1 == 0 {
		return false
	}
	switch {
	case c.days.any:
		return c.weekdays.any || c.weekdays.on(day)
	case c.weekdays.any:
		return c.days.on(day)
	}
	return c.days.on(day) || c.weekdays.on(day)
}

func (w *weekDays) on(day time.Time) bool {
	bit := uint64(1) << day.Weekday()
	d := day.Day()
	return w.set&bit != 0 || w.nth[(d-1)/7+1]&bit != 0 || w.last&bit != 0 && d+7 > lastOf(day)
}

func (m *monthDays) on(day time.Time) bool {
	d, last := day.Day(), lastOf(day)
	if m.set>>d&1 != 0 || m.before>>(last-d)&1 != 0 {
		return true
	}
	if m.nearest == 0 && !m.lastW {
		return false
	}
	weekday := day.Weekday()
	if weekday == time.Saturday || weekday == time.Sunday {
		return false
	}
	// A weekday stands for itself; a Friday for the Saturday that follows it, and where that is the last of the month's Sundays, for
	// it too; a Monday for the Sunday before it, and on the 3rd for the Saturday that is the 1st.
	switch {
	case m.nearest>>d&1 != 0, m.lastW && d == last:
		return true
	case weekday == time.Friday:
		return d < last && m.nearest>>(d+1)&1 != 0 || d+2 == last && m.nearest>>last&1 != 0 || m.lastW && d+2 >= last
	case weekday == time.Monday:
		return d > 1 && m.nearest>>(d-1)&1 != 0 || d == 3 && m.nearest>>1&1 != 0
	}
	return false
}

// lastOf is the number of days in a month.
func lastOf(day time.Time) int {
	return time.Date(day.Year(), day.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// cycle is how long it takes until the calendar repeats itself whole.
const cycle = 400

// ever reports whether there is a day that is due.
func (c *cron) ever() bool {
	from := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	_, ok := c.nextDay(from, from.AddDate(cycle, 0, 0))
	return ok
}

// nextDay is the first day that is due, from day on and before limit.
func (c *cron) nextDay(day, limit time.Time) (time.Time, bool) {
	for day.Before(limit) {
		if c.month>>day.Month()&1 == 0 {
			day = time.Date(day.Year(), day.Month()+1, 1, 0, 0, 0, 0, time.UTC)
			continue
		}
		if c.on(day) {
			return day, true
		}
		day = day.AddDate(0, 0, 1)
	}
	return day, false
}

// next is the first civil time that is due, from on and before limit; both are in UTC, in whole seconds.
func (c *cron) next(from, limit time.Time) (time.Time, bool) {
	midnight := time.Date(from.Year(), from.Month(), from.Day(), 0, 0, 0, 0, time.UTC)
	at := int(from.Sub(midnight) / time.Second)
	for {
		day, ok := c.nextDay(midnight, limit)
		if !ok {
			return time.Time{}, false
		}
		if !day.Equal(midnight) {
			at = 0
		}
		if s, ok := c.timeOfDay(at); ok {
			found := day.Add(time.Duration(s) * time.Second)
			return found, found.Before(limit)
		}
		midnight, at = day.AddDate(0, 0, 1), 0
	}
}

// timeOfDay is the first second of a day that is due, from at on.
func (c *cron) timeOfDay(at int) (int, bool) {
	h, m, s := at/3600, at/60%60, at%60
	for h = from(c.hour, h); h < 24; h = from(c.hour, h+1) {
		if h != at/3600 {
			m, s = 0, 0
		}
		for m = from(c.minute, m); m < 60; m = from(c.minute, m+1) {
			if h != at/3600 || m != at/60%60 {
				s = 0
			}
			if s = from(c.second, s); s < 60 {
				return h*3600 + m*60 + s, true
			}
		}
	}
	return 0, false
}

// from is the lowest value of set that is at least n, or 64.
func from(set uint64, n int) int { return bits.TrailingZeros64(set >> n << n) }
