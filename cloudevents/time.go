package cloudevents

import (
	"strings"
	"time"
)

// parseTime reads a date-time of RFC 3339, section 5.6, and answers it in UTC. Package time is too lenient for it: it
// takes one-digit hours, commas and offsets of 25 hours. Digits below the nanosecond are cut off, and a leap second
// is the first instant after it.
func parseTime(s string) (t time.Time, ok bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || s[4] != '-' || s[7] != '-' || lower(s[10]) != 't' || s[13] != ':' || s[16] != ':' {
		return t, false
	}
	year, ok0 := digits(s[0:4])
	month, ok1 := digits(s[5:7])
	day, ok2 := digits(s[8:10])
	hour, ok3 := digits(s[11:13])
	minute, ok4 := digits(s[14:16])
	second, ok5 := digits(s[17:19])
	if !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 60 {
		return t, false
	}
	nanos, rest, ok := fraction(s[19:])
	if !ok {
		return t, false
	}
	offset, ok := zone(rest)
	if !ok {
		return t, false
	}
	if day > time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return t, false
	}
	leap := second == 60
	if leap {
		second, nanos = 59, 0
	}
	t = time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC).Add(-offset)
	if leap {
		if t.Hour() != 23 || t.Minute() != 59 {
			return time.Time{}, false
		}
		t = t.Add(time.Second)
	}
	return t, t.Year() >= 0 && t.Year() <= 9999
}

func digits(s string) (n int, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, s != ""
}

// fraction reads ".123" as nanoseconds.
func fraction(s string) (nanos int, rest string, ok bool) {
	if !strings.HasPrefix(s, ".") {
		return 0, s, true
	}
	n := 1
	for unit := 100_000_000; n < len(s) && s[n] >= '0' && s[n] <= '9'; n++ {
		nanos += int(s[n]-'0') * unit
		unit /= 10
	}
	return nanos, s[n:], n > 1
}

// zone reads "Z" or "+01:00".
func zone(s string) (time.Duration, bool) {
	if len(s) == 1 && lower(s[0]) == 'z' {
		return 0, true
	}
	if len(s) != len("+01:00") || s[3] != ':' || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	h, ok1 := digits(s[1:3])
	m, ok2 := digits(s[4:6])
	if !ok1 || !ok2 || h > 23 || m > 59 {
		return 0, false
	}
	d := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if s[0] == '-' {
		d = -d
	}
	return d, true
}
