package bus

import (
	"context"
	"math/rand/v2"
	"time"
)

// exponential answers a random delay between a half and the whole of base·2^(attempt-1), which is at most limit. The
// half is a floor that a full jitter lacks: an unlucky message would spend all its attempts within one outage.
func exponential(attempt int, base, limit time.Duration) time.Duration {
	whole := limit
	if n := attempt - 1; n < 62 && base<<max(n, 0)>>max(n, 0) == base { // else it overflowed
		whole = min(base<<max(n, 0), limit)
	}
	if whole <= 1 {
		return max(whole, 0)
	}
	return whole/2 + rand.N(whole/2+1)
}

// passing is the delay before what failed n times in a row by nobody's fault is tried again.
func passing(n int) time.Duration { return exponential(n, 50*time.Millisecond, 10*time.Second) }

// sleep waits for d, or until ctx ends, and then reports false.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
