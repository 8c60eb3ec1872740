package outbox

import (
	"fmt"
	"reflect"
	"testing"
)

func opened(rs ...Range) *gaps {
	g := new(gaps)
	for _, r := range rs {
		g.notice(r)
	}
	return g
}

// A gap is closed by the look-up after the check that finds none of those who held the lock at the first check, and by
// no other. guarantees: R3, R8 [GapClosedTooEarly] [LongTxDoesNotStall]
func TestGapsCloseByLocks(t *testing.T) {
	type step struct {
		check  []string // nil: no check
		lookUp bool
		open   bool
	}
	for name, steps := range map[string][]step{
		"no writer at the first check":                  {{check: []string{}, open: true}, {lookUp: true}},
		"never without a check":                         {{lookUp: true, open: true}, {lookUp: true, open: true}},
		"an opener that goes on":                        {{check: []string{"3/1"}, open: true}, {lookUp: true, open: true}, {check: []string{"3/1"}, lookUp: true, open: true}},
		"an opener that ends":                           {{check: []string{"3/1"}, open: true}, {check: []string{}, open: true}, {lookUp: true}},
		"one of two openers ends":                       {{check: []string{"3/1", "4/1"}, open: true}, {check: []string{"4/1"}, lookUp: true, open: true}, {check: []string{}, lookUp: true}},
		"writers that came later do not matter":         {{check: []string{"3/1"}, open: true}, {check: []string{"5/9", "6/7"}, lookUp: true}},
		"a name that comes back is another transaction": {{check: []string{"3/1"}, open: true}, {check: []string{"4/1"}, open: true}, {check: []string{"3/1"}, open: true}, {lookUp: true}},
		"a prepared transaction may be any opener":      {{check: []string{"3/1"}, open: true}, {check: []string{"-1/77"}, lookUp: true, open: true}, {check: []string{"-1/77", "8/8"}, lookUp: true, open: true}, {check: []string{"8/8"}, lookUp: true}},
		"prepared before the first check":               {{check: []string{"-1/77"}, open: true}, {check: []string{"-1/77"}, lookUp: true, open: true}, {check: []string{}, lookUp: true}},
		"a store whose gaps never fill":                 {{check: nil}, {lookUp: true, open: true}},
	} {
		t.Run(name, func(t *testing.T) {
			g := opened(Range{4, 6})
			for i, s := range steps {
				if s.check != nil {
					g.check(s.check)
				}
				if s.lookUp {
					g.lookedUp()
				}
				if s.check == nil && !s.lookUp {
					g.check(nil)
					s.open = true
				}
				if g.open() != s.open && name != "a store whose gaps never fill" {
					t.Fatalf("step %d: open is %v", i+1, g.open())
				}
			}
		})
	}
}

func TestGapsOfAStoreWhereNoneFillsCloseAtOnce(t *testing.T) {
	g := opened(Range{1, 9})
	g.check(nil)
	g.lookedUp()
	if g.open() {
		t.Error("open")
	}
}

func TestGapsFill(t *testing.T) {
	g := opened(Range{1, 3}, Range{5, 5}, Range{7, 9})
	g.check([]string{"3/1"})
	g.notice(Range{11, 12}) // a second group
	for _, c := range []struct {
		seq  int64
		left []Range
	}{
		{5, []Range{{1, 3}, {7, 9}, {11, 12}}},
		{8, []Range{{1, 3}, {7, 7}, {9, 9}, {11, 12}}},
		{1, []Range{{2, 3}, {7, 7}, {9, 9}, {11, 12}}},
		{12, []Range{{2, 3}, {7, 7}, {9, 9}, {11, 11}}},
		{100, []Range{{2, 3}, {7, 7}, {9, 9}, {11, 11}}},
		{10, []Range{{2, 3}, {7, 7}, {9, 9}, {11, 11}}},
		{11, []Range{{2, 3}, {7, 7}, {9, 9}}},
	} {
		g.fill(c.seq)
		if got := g.missing(); !reflect.DeepEqual(got, c.left) {
			t.Fatalf("after %d: %v, want %v", c.seq, got, c.left)
		}
	}
	for _, seq := range []int64{2, 3, 7, 9} {
		g.fill(seq)
	}
	if g.open() {
		t.Errorf("open: %v", g.missing())
	}
}

func TestGapsForgetAbove(t *testing.T) {
	g := opened(Range{1, 3}, Range{6, 9})
	g.check([]string{"3/1"})
	g.notice(Range{12, 12})
	g.forgetAbove(7)
	if got, want := g.missing(), []Range{{1, 3}, {6, 7}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	g.forgetAbove(0)
	if g.open() {
		t.Errorf("%v", g.missing())
	}
}

// Beside a transaction that publishes for minutes, gaps of many checks make one group. guarantees: R8
func TestGapsOfManyChecksAreOneGroup(t *testing.T) {
	g := new(gaps)
	for i := range int64(1000) {
		g.notice(Range{2*i + 1, 2*i + 1})
		g.check([]string{"3/1", fmt.Sprintf("4/%d", i)}) // the long one, and one for a moment
	}
	g.check([]string{"3/1"})
	if len(g.groups) != 1 {
		t.Errorf("%d groups", len(g.groups))
	}
	missing := g.missing()
	for i, r := range missing {
		if want := int64(2*i + 1); r.From != want || r.To != want {
			t.Fatalf("range %d is %v", i, r)
		}
	}
	g.lookedUp()
	if len(missing) != 1000 || !g.open() {
		t.Error("closed, although the long one may still fill them")
	}
	g.check([]string{})
	g.lookedUp()
	if g.open() {
		t.Error("open after the last opener ended")
	}
}
