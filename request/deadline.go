package request

import (
	"strconv"
	"time"
)

// timeLeft is the header for what is left until a deadline: whole milliseconds, rounded down. It is empty when less than one is left.
func timeLeft(left time.Duration) string {
	ms := left.Milliseconds()
	if ms < 1 {
		return ""
	}
	return strconv.FormatInt(min(ms, maxTimeout.Milliseconds()), 10)
}

// maxTimeout is what nine digits of milliseconds hold: eleven and a half days.
const maxTimeout = 999_999_999 * time.Millisecond

// deadlineOf reckons when a request that arrived at now ends, by this process's clock.
//
// What was left when it was sent counts from its arrival, less what the broker says that it waited: no clock of another
// machine is in that. The caller's instant is believed only where it lies further in the past than clocks may differ
// (skew): that is what tells an old request that waited where nobody counted. A negative skew ignores the instant.
func deadlineOf(p *Packet, now time.Time, skew time.Duration) (deadline time.Time, ok bool) {
	ms, ok := digits(p.Timeout)
	if !ok {
		return time.Time{}, false
	}
	deadline = now.Add(time.Duration(ms)*time.Millisecond - max(p.Waited, 0))
	if at := p.Envelope.Expires; skew >= 0 && !at.IsZero() {
		if latest := at.Add(skew); latest.Before(deadline) && latest.Before(now) {
			deadline = latest
		}
	}
	return deadline, true
}
