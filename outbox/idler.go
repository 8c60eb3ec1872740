package outbox

import "time"

// idler spaces the polls of a table that shows nothing new: 1 ms after work or the news that a transaction has written,
// then twice as long each time.
type idler struct {
	most time.Duration
	wait time.Duration
}

func (i *idler) next() time.Duration {
	if i.wait == 0 {
		i.wait = time.Millisecond
	} else {
		i.wait = min(2*i.wait, i.most)
	}
	return i.wait
}

// reset is called after work.
func (i *idler) reset() { i.wait = 0 }

// ring is called at a bell: rows that are not committed yet are looked for soon, and ever less soon.
func (i *idler) ring(Ring) { i.wait = 0 }
