package outbox

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"
)

// gaps are the numbers below the cursor that no read has shown: of rows that are committed late, of rows that will
// never be (a rollback), and of rows that are settled already.
//
// Whoever may still fill a gap held a write lock on the table before the number was drawn, and holds it until its
// commit is visible. So a gap remembers the transactions that held that lock at the first check after it was noticed,
// keeps at each check those that still do, and is closed by the first look-up that comes after a check has left none.
// Transactions of others, however long, keep nothing open.
type gaps struct {
	groups []gapGroup // in no order
}

// gapGroup are gaps that were first checked together.
type gapGroup struct {
	ranges  []Range // ascending, apart
	checked bool
	openers map[string]struct{} // only while checked
}

// notice adds a range that a read has passed over.
func (g *gaps) notice(r Range) {
	if r.From > r.To {
		return
	}
	for i := range g.groups {
		if !g.groups[i].checked {
			g.groups[i].ranges = insertRange(g.groups[i].ranges, r)
			return
		}
	}
	g.groups = append(g.groups, gapGroup{ranges: []Range{r}})
}

// insertRange puts r in its place; reads go upward, so that is nearly always the end.
func insertRange(rs []Range, r Range) []Range {
	i := len(rs)
	for i > 0 && rs[i-1].From > r.From {
		i--
	}
	return slices.Insert(rs, i, r)
}

func (g *gaps) open() bool { return len(g.groups) > 0 }

// check takes the list of transactions that hold the write lock now.
func (g *gaps) check(writers []string) {
	now := make(map[string]struct{}, len(writers))
	for _, w := range writers {
		now[w] = struct{}{}
	}
	for i := range g.groups {
		group := &g.groups[i]
		if !group.checked {
			group.checked, group.openers = true, now
			continue
		}
		still := make(map[string]struct{})
		for w := range now {
			// A prepared transaction changes its name, to one that begins with "-": it may be any of the openers.
			if _, was := group.openers[w]; was || strings.HasPrefix(w, "-") {
				still[w] = struct{}{}
			}
		}
		group.openers = still
	}
	g.merge()
}

// merge joins groups with the same openers, since they are closed by the same look-up. So beside a transaction that
// publishes for minutes there are as many groups as there are open transactions at most, and not one for each check.
func (g *gaps) merge() {
	kept := g.groups[:0]
next:
	for _, group := range g.groups {
		for i := range kept {
			if maps.Equal(kept[i].openers, group.openers) {
				kept[i].ranges = append(kept[i].ranges, group.ranges...)
				slices.SortFunc(kept[i].ranges, byFrom)
				continue next
			}
		}
		kept = append(kept, group)
	}
	clear(g.groups[len(kept):])
	g.groups = kept
}

func byFrom(a, b Range) int { return cmp.Compare(a.From, b.From) }

// missing are all ranges, in ascending order and apart.
func (g *gaps) missing() []Range {
	if len(g.groups) == 1 {
		return g.groups[0].ranges
	}
	var all []Range
	for _, group := range g.groups {
		all = append(all, group.ranges...)
	}
	slices.SortFunc(all, byFrom)
	return all
}

// fill takes a number out that has been found.
func (g *gaps) fill(seq int64) {
	for i := range g.groups {
		rs := g.groups[i].ranges
		j := sort.Search(len(rs), func(j int) bool { return rs[j].To >= seq })
		if j == len(rs) || rs[j].From > seq {
			continue
		}
		var parts []Range
		if rs[j].From < seq {
			parts = append(parts, Range{rs[j].From, seq - 1})
		}
		if seq < rs[j].To {
			parts = append(parts, Range{seq + 1, rs[j].To})
		}
		g.groups[i].ranges = slices.Replace(rs, j, j+1, parts...)
	}
	g.drop(func(group *gapGroup) bool { return len(group.ranges) == 0 })
}

// lookedUp closes the gaps whose last possible filler had ended before the look-up that has just answered everything.
func (g *gaps) lookedUp() {
	g.drop(func(group *gapGroup) bool { return group.checked && len(group.openers) == 0 })
}

// forgetAbove drops what lies above seq, since the cursor goes back there and will notice it anew.
func (g *gaps) forgetAbove(seq int64) {
	for i := range g.groups {
		rs := g.groups[i].ranges
		for len(rs) > 0 && rs[len(rs)-1].From > seq {
			rs = rs[:len(rs)-1]
		}
		if n := len(rs); n > 0 && rs[n-1].To > seq {
			rs[n-1].To = seq
		}
		g.groups[i].ranges = rs
	}
	g.drop(func(group *gapGroup) bool { return len(group.ranges) == 0 })
}

func (g *gaps) drop(unwanted func(*gapGroup) bool) {
	kept := g.groups[:0]
	for i := range g.groups {
		if !unwanted(&g.groups[i]) {
			kept = append(kept, g.groups[i])
		}
	}
	clear(g.groups[len(kept):])
	g.groups = kept
}
