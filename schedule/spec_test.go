package schedule

import (
	"errors"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
)

func TestParseSaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "it is empty",
		"   ":                     "it is empty",
		"* * * *":                 "it has 4 fields; write five",
		"* * * * * * *":           "it has 7 fields",
		"60 * * * *":              `minute "60": give numbers of 0 to 59`,
		"-1 * * * *":              `minute "-1"`,
		"+1 * * * *":              `minute "+1"`,
		"1,,2 * * * *":            `minute "": give numbers`,
		"* 24 * * *":              `hour "24": give numbers of 0 to 23`,
		"* 22-2 * * *":            "the range ends before it begins; write it as two, 22-23,0-2",
		"*/0 * * * *":             "the step is no number of 1 to 59",
		"*/x * * * *":             "the step is no number",
		"1/60 * * * *":            "the step is no number",
		"* * 0 * *":               `day of the month "0": give numbers of 1 to 31`,
		"* * 32 * *":              `day of the month "32"`,
		"* * L-31 * *":            "give 1 to 30 days before the last one",
		"* * XW * *":              `day of the month "XW"`,
		"* * * FOO *":             `month "FOO": give numbers of 1 to 12, or a name from JAN to DEC`,
		"* * * 13 *":              `month "13"`,
		"* * * * 8":               `day of the week "8": give numbers of 0 to 7, or a name from SUN to SAT`,
		"* * * * FRI-MON":         "the range ends before it begins; write it as two, FRI-6,0-MON",
		"* * * * 1#6":             "give the first to the fifth of a month, #1 to #5",
		"* * * * #1":              `day of the week "#1"`,
		"* * * * L":               `day of the week "L"`,
		"0 0 30 2 *":              "it is never due",
		"0 0 31 4,6,9,11 *":       "it is never due",
		"0 0 L-30 2 ?":            "it is never due",
		"@fortnightly":            "there is no such name",
		"@daily 5":                "there is no such name; use @yearly",
		"every":                   "write one interval behind every",
		"every 5 minutes":         "write one interval behind every",
		"every five":              `"five" is no interval; write one such as 90s`,
		"every 0s":                "the interval is 0s; give whole seconds, at least one",
		"every 1.5s":              "the interval is 1.5s; give whole seconds",
		"every -5s":               "the interval is -5s",
		strings.Repeat("1,", 200): "it has 400 bytes, the limit is 256",
	} {
		_, err := Parse(text)
		if !errors.Is(err, sixfold.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func TestParseNormalizesSpaces(t *testing.T) {
	s, err := Parse("  0\t9 * *   mon-FRI ")
	if err != nil || s.String() != "0 9 * * mon-FRI" || s.IsZero() {
		t.Errorf("%q, %v", s, err)
	}
	if s := (Spec{}); !s.IsZero() {
		t.Error("the zero value is something")
	}
}

// Hostile text is answered with an error, in no time, and what is accepted is due some day.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"* * * * *", "0 0 29 2 *", "*/7 1-5/2 L,15W,LW JAN-DEC/3 5L,MON#2", "@weekly", "every 90s", "0 0 0 1 1 0", "59 59 23 31 12 7", "1#1 * * * *"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q becomes %q, which is refused: %v", text, s, err)
		}
		c := Calendar{Spec: s}
		if _, ok := c.Next(instant("2026-01-01T00:00:00Z")); !ok {
			t.Errorf("%q is never due", text)
		}
	})
}
