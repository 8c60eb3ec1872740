package driver

// Turns shares what may be handed out among feeds, so that none starves beside a full one. The zero value begins with the first.
type Turns struct{ next int }

// Take calls hand for the feeds in turn until n messages are there or none has one left. hand answers how many a feed
// has given, at most most, which is quantum where there is another feed.
func (t *Turns) Take(feeds, n, quantum int, hand func(feed, most int) int) {
	if feeds == 0 {
		return
	}
	for came := true; came && n > 0; {
		came = false
		for i := 0; i < feeds && n > 0; i++ {
			most := n
			if feeds > 1 {
				most = min(most, quantum)
			}
			got := hand((t.next+i)%feeds, most)
			n -= got
			came = came || got > 0
		}
	}
	t.next = (t.next + 1) % feeds
}
