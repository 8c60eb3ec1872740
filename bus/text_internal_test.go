package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestChainText(t *testing.T) {
	joined := errors.Join(errors.New("one"), fmt.Errorf("two: %w", errors.New("three")))
	for _, test := range []struct {
		err  error
		want string
	}{
		{nil, ""},
		{errors.New("plain"), "plain"},
		{fmt.Errorf("a: %w", errors.New("b")), "a: b"},
		{joined, "one; two: three"},
		{mute{joined}, "mute <- one; two: three"},
		{errors.New("nul\x00 cr\r\nlf\n esc\x1b bad\xff"), "nul  cr; lf;  esc  bad\uFFFD"},
		{explosive{}, "bus.explosive, whose text cannot be had"},
	} {
		if got := chainText(test.err, 100); !strings.HasPrefix(got, test.want) || test.err != nil && got == "" || len(got) > 100 {
			t.Errorf("%q, want %q", got, test.want)
		}
	}
	if got := chainText(errors.New(strings.Repeat("é", 100)), 33); len(got) != 32 || !utf8.ValidString(got) {
		t.Errorf("%d bytes: %q", len(got), got)
	}
	endless := &loop{}
	endless.err = endless
	if got := chainText(endless, 100); got != "loop" {
		t.Error(got)
	}
}

type mute struct{ err error }

func (m mute) Error() string { return "mute" }
func (m mute) Unwrap() error { return m.err }

type explosive struct{}

func (explosive) Error() string { panic("boom") }

type loop struct{ err error }

func (l *loop) Error() string { return "loop" }
func (l *loop) Unwrap() error { return l.err }

// FuzzDeque compares with a slice.
func FuzzDeque(f *testing.F) {
	f.Add([]byte("bbbfffppppbbbbbbbbbbbbbbbbbbbbbbbbbbbbbfpppkkpppp"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		var q deque
		var model []*item
		for n, op := range ops {
			it := &item{attempts: n}
			switch op {
			case 'b':
				q.pushBack(it)
				model = append(model, it)
			case 'f':
				q.pushFront(it)
				model = slices.Insert(model, 0, it)
			case 'k':
				keep := func(it *item) bool { return it.attempts%3 != 0 }
				var out []*item
				var kept []*item
				for _, it := range model {
					if keep(it) {
						kept = append(kept, it)
					} else {
						out = append(out, it)
					}
				}
				if got := q.filter(keep); !slices.Equal(got, out) {
					t.Fatalf("filter: %v, want %v", got, out)
				}
				model = kept
			default:
				var want *item
				if len(model) > 0 {
					want, model = model[0], model[1:]
				}
				if q.front() != want || q.popFront() != want {
					t.Fatal("pop")
				}
			}
			if q.n != len(model) {
				t.Fatalf("%d, want %d", q.n, len(model))
			}
		}
	})
}
