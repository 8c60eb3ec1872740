package bus

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// short quotes at most 64 bytes of s, with control characters escaped.
func short(s string) string {
	if len(s) <= 64 {
		return strconv.Quote(s)
	}
	return strconv.Quote(clip(s, 61)) + "…"
}

// clip cuts s to at most n bytes, between two runes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// plainText reports whether s is valid UTF-8 without control characters.
func plainText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// chainText is the text of err and of every error it wraps that its own text leaves out, as one line of valid UTF-8
// of at most limit bytes.
func chainText(err error, limit int) (text string) {
	defer func() {
		if p := recover(); p != nil { // an Error method that panics must not cost more than its text
			text = fmt.Sprintf("%T, whose text cannot be had", err)
		}
	}()
	var b strings.Builder
	addChain(&b, err, 0)
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(strings.NewReplacer("\r\n", "; ", "\n", "; ").Replace(b.String()), "\uFFFD"))
	return clip(text, limit)
}

func addChain(b *strings.Builder, err error, depth int) {
	if err == nil || depth > 32 || b.Len() > 64<<10 {
		return
	}
	if t := err.Error(); !strings.Contains(b.String(), t) {
		if b.Len() > 0 {
			b.WriteString(" <- ")
		}
		b.WriteString(t)
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		addChain(b, e.Unwrap(), depth+1)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			addChain(b, one, depth+1)
		}
	}
}
