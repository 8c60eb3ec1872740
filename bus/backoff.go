package bus

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold"
)

// passing is the delay before what failed n times in a row by nobody's fault is tried again.
func passing(n int) time.Duration {
	return sixfold.Retry{MinBackoff: 50 * time.Millisecond, MaxBackoff: 10 * time.Second}.Delay(n)
}

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
