package demo

import (
	"testing"
)

// The check must be able to fail: each violation, made by hand, is counted as what it is.
func TestReportCountsViolations(t *testing.T) {
	orders := map[string]bool{"a": true, "b": true, "c": true}
	row := func(order string, number int) effect { return effect{order: order, customer: "x", number: number} }
	for name, c := range map[string]struct {
		got  []effect
		want Report
	}{
		"all is well":  {[]effect{row("a", 1), row("b", 2), row("c", 3)}, Report{Handled: 3}},
		"lost":         {[]effect{row("a", 1), row("c", 3)}, Report{Handled: 2, Lost: 1}},
		"twice":        {[]effect{row("a", 1), row("b", 2), row("a", 1), row("c", 3)}, Report{Handled: 4, DuplicateEffects: 1}},
		"out of order": {[]effect{row("b", 2), row("a", 1), row("c", 3)}, Report{Handled: 3, OrderViolations: 1}},
		"phantom":      {[]effect{row("a", 1), row("b", 2), row("c", 3), row("d", 4)}, Report{Handled: 4, Phantoms: 1}},
	} {
		var r Report
		r.compare(orders, c.got)
		if r != c.want {
			t.Errorf("%s: got %+v, want %+v", name, r, c.want)
		}
		if r.OK() != (name == "all is well") {
			t.Errorf("%s: OK is %v", name, r.OK())
		}
	}
}
