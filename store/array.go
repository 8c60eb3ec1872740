package store

import (
	"strconv"
	"strings"
)

// Lists travel as one text parameter in PostgreSQL's array syntax (manual, section 8.15), cast by the server: every
// library can encode a string, and not every one an array.

// intArray is the array of ns.
func intArray(ns []int64) string {
	b := make([]byte, 0, 2+12*len(ns))
	b = append(b, '{')
	for i, n := range ns {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, n, 10)
	}
	return string(append(b, '}'))
}

// An arrayWriter builds an array element by element.
type arrayWriter struct{ b []byte }

func newArray(size int) arrayWriter { return arrayWriter{append(make([]byte, 0, size+2), '{')} }

func (w *arrayWriter) comma() {
	if len(w.b) > 1 {
		w.b = append(w.b, ',')
	}
}

func (w *arrayWriter) int(n int64) {
	w.comma()
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *arrayWriter) null() {
	w.comma()
	w.b = append(w.b, "NULL"...)
}

// text adds s, quoted whatever it holds: empty, NULL, braces, commas, quotes, backslashes.
func (w *arrayWriter) text(s string) {
	w.comma()
	w.b = append(w.b, '"')
	for {
		i := strings.IndexAny(s, `"\`)
		if i < 0 {
			break
		}
		w.b = append(append(w.b, s[:i]...), '\\', s[i])
		s = s[i+1:]
	}
	w.b = append(append(w.b, s...), '"')
}

// textOrNull adds s, or NULL for the empty string.
func (w *arrayWriter) textOrNull(s string) {
	if s == "" {
		w.null()
		return
	}
	w.text(s)
}

func (w *arrayWriter) String() string { return string(append(w.b, '}')) }

func (w *arrayWriter) bool(b bool) {
	w.comma()
	w.b = strconv.AppendBool(w.b, b)
}
