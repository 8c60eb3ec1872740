package request

import (
	"math/rand/v2"
	"strconv"
	"testing"
)

// TestHistory compares a history with a list of all calls: those that it has to know it knows, with the reply that they had, and what is
// older than its ring, or never was, it does not.
func TestHistory(t *testing.T) {
	const most = 256
	random := rand.New(rand.NewPCG(1, 2))
	h := newHistory(most - 10)
	var replies []bool // of all calls, by their number
	for n := range 5 * most {
		reply := random.IntN(2) == 0
		h.add(strconv.Itoa(n), reply)
		replies = append(replies, reply)
		if n%7 == 3 { // a late reply
			late := max(0, n-random.IntN(most))
			h.find(strconv.Itoa(late)).hash |= replied
			replies[late] = true
		}
		if n%50 != 0 && n != 5*most-1 {
			continue
		}
		for i, reply := range replies {
			c := h.find(strconv.Itoa(i))
			if known := i > n-most; known != (c != nil) {
				t.Fatalf("after %d calls: that number %d is known: %v", n+1, i, c != nil)
			}
			if c != nil && reply != (c.hash&replied != 0) {
				t.Fatalf("after %d calls: that number %d had a reply: %v", n+1, i, !reply)
			}
		}
		if h.find("never") != nil || h.find("") != nil {
			t.Fatal("a call that never was is known")
		}
	}
	if len(h.ring) != most {
		t.Fatalf("the ring has %d places, not %d", len(h.ring), most)
	}
}
