package explain

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Report is what is known about an id. It has a JSON form; String is for people.
type Report struct {
	ID       string    `json:"id"`
	Found    bool      `json:"found"`
	Findings []Finding `json:"findings"`
	// Looked says what was looked at and, where nothing is there, why it can be gone.
	Looked []string `json:"looked"`
}

// Finding is one place that knows the id.
type Finding struct {
	// Place is outbox, local, parked, delivered, inbox or audit.
	Place string `json:"place"`
	// State there: pending, nobody (no reader lives), orphaned (its owner died), waiting, dead, delivered, handled, suspect, parked;
	// of the audit what was done.
	State     string         `json:"state"`
	Consumer  string         `json:"consumer,omitempty"`
	Sentences []string       `json:"sentences"`
	Facts     map[string]any `json:"facts"`
}

func (f *Finding) say(format string, args ...any) {
	f.Sentences = append(f.Sentences, fmt.Sprintf(format, args...))
}

// String is the report in plain sentences, a line each. It holds no control characters of the message's.
func (r *Report) String() string {
	var b strings.Builder
	if !r.Found {
		fmt.Fprintf(&b, "Nothing is known here about %s.\n", quote(r.ID))
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		for j, s := range f.Sentences {
			head := "  "
			if j == 0 {
				head = "- "
			}
			b.WriteString(head + plain(s) + "\n")
		}
	}
	b.WriteString("Looked at:\n")
	for _, l := range r.Looked {
		b.WriteString("  " + plain(l) + "\n")
	}
	return b.String()
}

// quote shows at most 64 characters, with control characters escaped.
func quote(s string) string {
	if r := []rune(s); len(r) > 64 {
		s = string(r[:64]) + "…"
	}
	return strconv.Quote(s)
}

// plain escapes what a terminal would obey.
func plain(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// cut shows at most n characters.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// ago is a duration for people.
func ago(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return max(0, d).Round(time.Millisecond).String()
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
