package claimcheck

import (
	"log/slog"
	"sync"
	"time"
)

// An outage of the store is logged when it begins and when it ends, and the store is asked less and less often.
type outage struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	failed int
	since  time.Time
	next   time.Time // when the store is asked again
}

// Delays between two tries, and how long one waits for room while the store answers.
const (
	firstDelay = 50 * time.Millisecond
	lastDelay  = 10 * time.Second
)

func (o *outage) begin(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.failed++; o.failed == 1 {
		o.since = now
		o.log.Warn("claimcheck: the blob store does not answer; messages with large bodies wait", "error", err)
	}
	o.next = now.Add(min(firstDelay<<min(o.failed-1, 10), lastDelay))
}

func (o *outage) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed > 0 {
		o.log.Info("claimcheck: the blob store answers again", "after", time.Since(o.since))
	}
	o.failed = 0
}

// wait is how long the store is left alone from now on.
func (o *outage) wait() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed == 0 {
		return firstDelay
	}
	return max(time.Until(o.next), time.Millisecond)
}

// over reports whether the store may be asked.
func (o *outage) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed == 0 || !time.Now().Before(o.next)
}
