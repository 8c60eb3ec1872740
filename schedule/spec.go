package schedule

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
)

// maxSpec bounds the text of a Spec, in bytes.
const maxSpec = 256

// Spec says when a recurring schedule is due: a cron expression, or a fixed interval. It is immutable; the zero value is
// never due. It knows no zone: Calendar adds that.
//
// A cron expression has five fields (minute, hour, day of the month, month, day of the week), or six with the seconds in
// front. A field is a list of parts, separated by commas:
//
//   - * is every value, ? the same for the two kinds of days;
//   - 5, or a name: JAN to DEC, SUN to SAT, in any case; 0 and 7 are both Sunday;
//   - 1-5, and with a step: 1-30/5, */15, and 10/15 for 10-59/15;
//   - for days of the month: L the last one, L-3 the third one before it, 15W the weekday that is nearest to the 15th and in
//     its month, LW the last weekday;
//   - for days of the week: 5L the last Friday of the month, 5#2 the second one.
//
// Where both kinds of days are restricted, a day that satisfies either is due, as POSIX has it (crontab, "The specification of days").
// @yearly (@annually), @monthly, @weekly, @daily (@midnight) and @hourly are what cron(8) makes of them.
//
// "every 90s" is due at each multiple of an interval since the calendar's start; the interval is written as package time does,
// and is at least a second, in whole ones.
type Spec struct {
	text  string
	cron  *cron
	every time.Duration
}

// macros are the names of expressions.
var macros = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// Parse reads a Spec. Its error says what is wrong and what to write, and wraps sixfold.ErrInvalid; an expression that is
// never due, such as 30 February, is wrong.
func Parse(text string) (Spec, error) {
	if len(text) > maxSpec {
		return Spec{}, fmt.Errorf("schedule: spec: %w: it has %d bytes, the limit is %d", sixfold.ErrInvalid, len(text), maxSpec)
	}
	s, err := parse(text)
	if err != nil {
		return Spec{}, fmt.Errorf("schedule: spec %.64q: %w: %w", text, sixfold.ErrInvalid, err)
	}
	return s, nil
}

func parse(text string) (Spec, error) {
	fields := strings.Fields(text)
	s := Spec{text: strings.Join(fields, " ")}
	if len(fields) == 0 {
		return s, errors.New("it is empty; write a cron expression such as \"0 9 * * MON-FRI\", or \"every 90s\"")
	}
	switch word := strings.ToLower(fields[0]); {
	case word == "every" || word == "@every":
		if len(fields) != 2 {
			return s, errors.New("write one interval behind every, such as \"every 90s\" or \"every 1h30m\"")
		}
		d, err := time.ParseDuration(fields[1])
		switch {
		case err != nil:
			return s, fmt.Errorf("%.32q is no interval; write one such as 90s or 1h30m", fields[1])
		case d < time.Second || d%time.Second != 0:
			return s, fmt.Errorf("the interval is %v; give whole seconds, at least one", d)
		}
		s.every = d
		return s, nil
	case strings.HasPrefix(word, "@"):
		expression, known := macros[word]
		if !known || len(fields) > 1 {
			return s, errors.New("there is no such name; use @yearly, @monthly, @weekly, @daily or @hourly, alone")
		}
		fields = strings.Fields(expression)
	}
	c, err := parseCron(fields)
	s.cron = c
	return s, err
}

// String is the text, with single spaces.
func (s Spec) String() string { return s.text }

// IsZero reports whether s is the zero value.
func (s Spec) IsZero() bool { return s.cron == nil && s.every == 0 }
