package outbox

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// backoff waits between tries of what only an outage prevents: 20 ms, doubled up to 5 s, with jitter, for ever. It logs
// the first failure and the end of the outage.
type backoff struct {
	log   *slog.Logger
	what  string
	tries int
	since time.Time
}

// wait counts a failure and waits, at most until ctx ends.
func (b *backoff) wait(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if b.tries == 0 {
		b.since = time.Now()
		b.log.Warn(b.what+"; it tries again until that works", "err", err)
	}
	d := min(20*time.Millisecond<<min(b.tries, 10), 5*time.Second)
	b.tries++
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// over ends an outage.
func (b *backoff) over() {
	if b.tries > 0 {
		b.log.Info(b.what+": that is over", "after", time.Since(b.since).Round(time.Millisecond), "tries", b.tries)
	}
	b.tries = 0
}
