package deadletter

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// canaryPoll is the time between two looks at a canary, at most.
const canaryPoll = 2 * time.Second

// canary sends the first message of the run again, unless the run did that before, and waits for what becomes of it.
func (l *Letters) canary(ctx context.Context, r Run, o *Options, report *Report) error {
	m, err := l.sent(ctx, r)
	if err != nil {
		return err
	}
	for after := int64(0); m == nil; {
		s, err := l.st.Redrive(ctx, r, after, 1)
		if err != nil {
			return err
		}
		report.skip(s.Skipped...)
		switch {
		case len(s.Done) > 0:
			m = &s.Done[0]
			report.Done++
		case s.Next == 0:
			return nil // there is nothing to be sent
		}
		after = s.Next
	}
	report.Canary = m
	if o.Progress != nil {
		o.Progress(*report)
	}
	limited, cancel := context.WithTimeout(ctx, r.CanaryWait)
	defer cancel()
	for pause := canaryPoll / 16; ; pause = min(2*pause, canaryPoll) {
		if report.CanaryFate, err = l.st.Fate(ctx, *m); err != nil {
			return err
		}
		switch report.CanaryFate {
		case Handled:
			return nil
		case DeadAgain, Discarded:
			return fmt.Errorf("%w: number %d (id %.64q) is %s; see why before going on", ErrCanary, m.N, m.ID, report.CanaryFate)
		case StillWaiting:
		}
		if err := sleep(limited, pause); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("%w: number %d (id %.64q) still waits after %v; see whether its consumer runs, and what is before it in its line", ErrCanary, m.N, m.ID, r.CanaryWait)
		}
	}
}

// sent answers the first message that a resumed run sent again, nil when there is none.
func (l *Letters) sent(ctx context.Context, r Run) (*Moved, error) {
	if !r.Resumed {
		return nil, nil
	}
	changes, err := l.st.Audit(ctx, Trail{Run: r.ID, Limit: 2}) // the run itself, and its first message
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if c.N == 0 {
			continue
		}
		var after struct {
			Relay bool  `json:"relay"`
			Seq   int64 `json:"seq"`
		}
		if err := json.Unmarshal(c.After, &after); err != nil {
			return nil, fmt.Errorf("deadletter: read entry %d of the audit: %w", c.ID, err)
		}
		return &Moved{N: c.N, Relay: after.Relay, Consumer: c.Consumer, ID: c.Message, Seq: after.Seq}, nil
	}
	return nil, nil
}
