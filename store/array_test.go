package store

import (
	"slices"
	"strings"
	"testing"
)

// parseArray reads PostgreSQL's array syntax as array_in does (src/backend/utils/adt/arrayfuncs.c), for one dimension.
func parseArray(s string) (out []*string, ok bool) {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' {
		return nil, false
	}
	s = s[1 : len(s)-1]
	for s != "" {
		var b strings.Builder
		i, quoted := 0, strings.HasPrefix(s, `"`)
		if quoted {
			for i = 1; i < len(s) && s[i] != '"'; i++ {
				if s[i] == '\\' {
					i++
				}
				if i >= len(s) {
					return nil, false
				}
				b.WriteByte(s[i])
			}
			i++
		} else {
			for i = 0; i < len(s) && s[i] != ','; i++ {
				if strings.IndexByte(`"\{} `, s[i]) >= 0 {
					return nil, false
				}
				b.WriteByte(s[i])
			}
		}
		text := b.String()
		if !quoted && strings.EqualFold(text, "NULL") {
			out = append(out, nil)
		} else {
			out = append(out, &text)
		}
		if i > len(s) || i < len(s) && s[i] != ',' {
			return nil, false
		}
		if i == len(s) {
			break
		}
		s = s[i+1:]
	}
	return out, true
}

func FuzzTextArray(f *testing.F) {
	for _, s := range []string{"", "NULL", "null", `"`, `\`, `\"`, "{}", "a,b", " ", "ключ", "\t\n", `""`, `\\\\`, `a"b\c{d}e,f`} {
		f.Add(s, "x", 1)
	}
	f.Fuzz(func(t *testing.T, a, b string, n int) {
		want := []string{a, b, a + b}
		w := newArray(0)
		for _, s := range want {
			w.text(s)
		}
		w.null()
		w.textOrNull(a)
		w.int(int64(n))
		got, ok := parseArray(w.String())
		if !ok || len(got) != 6 || got[3] != nil || (got[4] == nil) != (a == "") {
			t.Fatalf("%q is not the array of %q", w.String(), want)
		}
		for i := range want {
			if got[i] == nil || *got[i] != want[i] {
				t.Fatalf("%q became %q", want[i], w.String())
			}
		}
	})
}

func TestIntArrays(t *testing.T) {
	for _, c := range []struct {
		ns         []int64
		pg, sqlite string
	}{{nil, "{}", "[]"}, {[]int64{1}, "{1}", "[1]"}, {[]int64{-1, 1<<63 - 1, -1 << 63}, "{-1,9223372036854775807,-9223372036854775808}", "[-1,9223372036854775807,-9223372036854775808]"}} {
		if got := intArray(c.ns); got != c.pg {
			t.Errorf("%v: %s", c.ns, got)
		}
		if got := jsonInts(c.ns); got != c.sqlite {
			t.Errorf("%v: %s", c.ns, got)
		}
	}
	if slices.IsSorted(liteSizes[:]) {
		t.Error("statements must be tried from the largest on")
	}
}
