package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// mostGone is how long the text of what was let go may get. Brokers take 4,096 bytes beside a position by default.
const mostGone = 4000

// gone is what of a partition was let go: all below floor, and some ranges above it, in order, apart from each other, each
// with its end behind it.
type gone struct {
	floor  int64
	ranges [][2]int64
}

// readGone reads what was committed. What cannot be read is forgotten, so that its messages are shown; and so is a position
// of another topic of that name, which lies behind its end.
func readGone(floor int64, text string, end int64) gone {
	if floor > end {
		return gone{}
	}
	g := gone{floor: floor}
	for one := range strings.SplitSeq(text, ",") {
		a, b, ok := strings.Cut(one, "-")
		from, err := strconv.ParseInt(a, 10, 64)
		to := from
		if err == nil && ok {
			to, err = strconv.ParseInt(b, 10, 64)
		}
		if err != nil || from < floor || to < from || to >= end {
			return g
		}
		g.add(from, to+1)
	}
	return g
}

// text is what is committed beside the floor: "7-9,12".
func (g *gone) text() string {
	var all []string
	for _, r := range g.ranges {
		if r[1]-r[0] == 1 {
			all = append(all, strconv.FormatInt(r[0], 10))
		} else {
			all = append(all, fmt.Sprintf("%d-%d", r[0], r[1]-1))
		}
	}
	return strings.Join(all, ",")
}

// fits reports whether there is room for one more.
func (g *gone) fits() bool { return len(g.text())+2*20 <= mostGone }

// add lets from and what follows go, up to to, which stays.
func (g *gone) add(from, to int64) {
	if to <= from {
		return
	}
	if from <= g.floor {
		g.floor = max(g.floor, to)
	} else {
		g.ranges = append(g.ranges, [2]int64{from, to})
		slices.SortFunc(g.ranges, func(a, b [2]int64) int { return int(a[0] - b[0]) })
	}
	kept := g.ranges[:0]
	for _, r := range g.ranges {
		switch n := len(kept); {
		case r[0] <= g.floor:
			g.floor = max(g.floor, r[1])
		case n > 0 && r[0] <= kept[n-1][1]:
			kept[n-1][1] = max(kept[n-1][1], r[1])
		default:
			kept = append(kept, r)
		}
	}
	g.ranges = kept
}

// has reports whether a message was let go.
func (g *gone) has(offset int64) bool {
	return offset < g.floor || slices.ContainsFunc(g.ranges, func(r [2]int64) bool { return r[0] <= offset && offset < r[1] })
}

// above is how many were let go above the floor.
func (g *gone) above() (n int64) {
	for _, r := range g.ranges {
		n += r[1] - r[0]
	}
	return n
}
