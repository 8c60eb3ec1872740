package kafka

import (
	"context"
	"time"
)

// pollEvery is how soon something that comes soon is looked for again; later ones wait longer.
const pollEvery = 10 * time.Millisecond

// pause waits for d, and reports whether ctx has not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
