package cli

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What was let go reads as it was written, whatever the order in which it went. [RedriveNotSwallowed]
func TestGoneIsWhatWentAway(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 300 {
		const end = 40
		var g gone
		went := map[int64]bool{}
		for range rng.IntN(30) {
			from := rng.Int64N(end)
			to := min(end, from+1+rng.Int64N(3))
			g.add(from, to)
			for o := from; o < to; o++ {
				went[o] = true
			}
		}
		read := readGone(g.floor, g.text(), end)
		if read.floor != g.floor || !slices.Equal(read.ranges, g.ranges) {
			t.Fatalf("%d %q reads as %d %q", g.floor, g.text(), read.floor, read.text())
		}
		if n := read.floor + read.above(); n != int64(len(went)) {
			t.Fatalf("%d %q are %d, want %d", read.floor, read.text(), n, len(went))
		}
		for o := range int64(end) {
			if read.has(o) != went[o] {
				t.Fatalf("%d %q: %d went: %v", read.floor, read.text(), o, went[o])
			}
		}
	}
}

// What somebody else has committed is not believed further than it can be read, nor what lies behind the end.
func TestGoneOfOthersIsForgotten(t *testing.T) {
	for _, c := range []struct {
		floor       int64
		text        string
		wantFloor   int64
		wantSkipped int64
	}{{5, "", 5, 0}, {5, "7-8,x,9", 5, 2}, {5, "3-9", 5, 0}, {5, "8-7", 5, 0}, {5, "9-10", 5, 0}, {11, "", 0, 0}, {10, "", 10, 0}, {0, "9223372036854775807", 0, 0}} {
		if g := readGone(c.floor, c.text, 10); g.floor != c.wantFloor || g.above() != c.wantSkipped {
			t.Errorf("%d %q: %d and %d above", c.floor, c.text, g.floor, g.above())
		}
	}
}

// There is an end of what fits beside a position, and it comes before the brokers' own.
func TestGoneHasRoom(t *testing.T) {
	var g gone
	for o := int64(1_000_000_000_001); g.fits(); o += 2 {
		g.add(o, o+1)
	}
	if n := len(g.text()); n > mostGone || n < mostGone-100 {
		t.Errorf("%d bytes", n)
	}
}
