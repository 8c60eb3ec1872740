package outbox

import "testing"

// What this process wrote is not hidden by what it has heard, or a listener would not tell others of it.
func TestBellKeepsTheNewsBeforeTheHearsay(t *testing.T) {
	var b Bell
	rings, stop := b.Listen()
	defer stop()
	for _, c := range []struct {
		ring []Ring
		want Ring
	}{{[]Ring{Heard}, Heard}, {[]Ring{Heard, Soon}, Soon}, {[]Ring{Soon, Heard}, Soon}, {[]Ring{Now, Heard, Soon}, Now}} {
		for _, r := range c.ring {
			b.Ring(r)
		}
		if got := <-rings; got != c.want {
			t.Errorf("%v: %v", c.ring, got)
		}
	}
}
