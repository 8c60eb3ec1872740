package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// quote shows at most 64 characters, with control characters escaped.
func quote(s string) string {
	if r := []rune(s); len(r) > 64 {
		s = string(r[:64]) + "…"
	}
	return strconv.Quote(s)
}

// safe escapes what a terminal would obey: payloads and names may come from anybody.
func safe(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[size:]
	}
	return b.String()
}

// json writes one value, or one per line.
func (a *app) json(v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := a.out.Write(b.Bytes())
	return err
}

// table writes rows in columns; the first row is the heading. A table that is wider than the terminal is written row by row, a
// line for each column.
func (a *app) table(rows [][]string) error {
	for _, r := range rows {
		for i := range r {
			r[i] = safe(r[i])
			if r[i] == "" {
				r[i] = "-"
			}
		}
	}
	text := aligned(rows)
	if columns := a.columns(); columns > 0 && widest(text) > columns {
		text = listed(rows, columns)
	}
	return a.lines(text)
}

// pairs writes names with their values. Values stay whole, so that they can be copied.
func (a *app) pairs(rows [][]string) error {
	for _, r := range rows {
		r[0], r[1] = safe(r[0]), safe(r[1])
		if r[1] == "" {
			r[1] = "-"
		}
	}
	text := aligned(rows)
	if columns := a.columns(); columns > 0 && widest(text) > columns {
		var b strings.Builder
		for _, r := range rows {
			b.WriteString(r[0] + ": " + r[1] + "\n")
		}
		text = b.String()
	}
	return a.lines(text)
}

// lines writes a text without the spaces at the ends of its lines.
func (a *app) lines(text string) error {
	for line := range strings.Lines(text) {
		if _, err := fmt.Fprintln(a.out, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// aligned is rows in columns.
func aligned(rows [][]string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r, "\t"))
	}
	_ = w.Flush()
	return b.String()
}

// listed is rows one below the other, each value behind its heading.
func listed(rows [][]string, columns int) string {
	var b strings.Builder
	for i, r := range rows[1:] {
		if i > 0 {
			b.WriteByte('\n')
		}
		for j, value := range r {
			b.WriteString(fold(rows[0][j]+": "+value, columns) + "\n")
		}
	}
	return b.String()
}

// widest is the length of the longest line.
func widest(text string) (n int) {
	for line := range strings.Lines(text) {
		n = max(n, utf8.RuneCountInString(strings.TrimRight(line, " \n")))
	}
	return n
}

// line writes one line of text.
func (a *app) line(format string, args ...any) error {
	_, err := fmt.Fprintf(a.out, format+"\n", args...)
	return err
}

// note writes a sentence for people, as narrow as the terminal.
func (a *app) note(text string) error { return a.line("\n%s", fold(text, a.columns())) }

// short is a duration as people read it.
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	case d >= time.Minute:
		return d.Round(time.Second).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}

// payload is a body for JSON: text where it is text.
type payload struct {
	Body       *string `json:"body,omitempty"`
	BodyBase64 *string `json:"body_base64,omitempty"`
}

func payloadOf(body []byte) (p payload) {
	switch {
	case body == nil:
	case utf8.Valid(body):
		s := string(body)
		p.Body = &s
	default:
		s := base64.StdEncoding.EncodeToString(body)
		p.BodyBase64 = &s
	}
	return p
}

// bodyText is a body for people.
func bodyText(body []byte) string {
	if body == nil {
		return "(none)"
	}
	return safe(string(body))
}

// seconds is short for what came as seconds.
func seconds(s float64) string { return short(time.Duration(s * float64(time.Second))) }
