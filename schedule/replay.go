package schedule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold/deadletter"
)

// ErrNotDead says that an occurrence's message is no dead letter, so that sending it again might have its effect twice. Trigger sends
// another message.
var ErrNotDead = errors.New("schedule: the message of the occurrence is no dead letter")

// Replay sends the message of a dead occurrence again, with the id that it had, as letters.Redrive does, which must be of the same database;
// opts say who does it and why, and name no Run: that one would go on with what it was begun for. id is that of the occurrence's message. It answers the occurrence as it was found. The error is
// ErrUnknown if the schedule has had none of that id, or it is not kept any more, and ErrNotDead if its message is not dead,
// also where somebody else was faster.
func (s *Scheduler) Replay(ctx context.Context, letters *deadletter.Letters, name, id string, opts deadletter.Options) (Occurrence, error) {
	if letters == nil {
		return Occurrence{}, fmt.Errorf("schedule: replay %.64q: the dead letters are nil; make them with deadletter.New, of the same database", name)
	}
	if opts.Run != "" {
		return Occurrence{}, fmt.Errorf("schedule: replay %.64q: option Run names a redrive of its own, %.64q; leave it empty, or resume that one with Redrive", name, opts.Run)
	}
	o, err := s.occurrence(ctx, name, id)
	if err != nil {
		return o, err
	}
	if o.Fate != FateDead {
		fate := string(o.Fate)
		if fate == "" {
			fate = o.Outcome.String()
		}
		return o, fmt.Errorf("%w: replay occurrence %.64q of %.64q: it is %s; Trigger sends another message", ErrNotDead, id, name, fate)
	}
	report, err := letters.Redrive(ctx, deadletter.Filter{State: deadletter.Dead, ID: o.ID}, opts)
	found := report.Done
	if report.Summary != nil { // of a dry run
		found = report.Summary.Total
	}
	if err == nil && found == 0 {
		err = fmt.Errorf("%w: replay occurrence %.64q of %.64q: it was dead a moment ago; look where it is", ErrNotDead, id, name)
	}
	return o, err
}

// occurrence looks for a past one by the id of its message, the latest first.
func (s *Scheduler) occurrence(ctx context.Context, name, id string) (Occurrence, error) {
	const page = 1000
	for before := (time.Time{}); id != ""; {
		list, err := s.Occurrences(ctx, name, before, page)
		if err != nil {
			return Occurrence{}, err
		}
		for i := range list {
			if strings.EqualFold(list[i].ID, id) {
				return list[i], nil
			}
			before = list[i].Planned
		}
		if len(list) < page {
			break
		}
	}
	return Occurrence{}, fmt.Errorf("%w: replay occurrence %.64q of %.64q: there was none, or it is not kept any more; the history has the ids of those that are", ErrUnknown, id, name)
}
