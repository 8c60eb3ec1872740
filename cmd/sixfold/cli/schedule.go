package cli

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

func (a *app) scheduleCommand() *cobra.Command {
	return a.group("schedule", "look at schedules and at messages that wait for their time; pause, resume, trigger, cancel them",
		a.scheduleNext(), a.scheduleList(), a.scheduleShow(), a.scheduleHistory(), a.schedulePause(), a.scheduleResume(), a.scheduleTrigger(),
		a.scheduleCancel(), a.scheduleReplay())
}

// openScheduler connects to the database.
func (a *app) openScheduler(ctx context.Context) (*schedule.Scheduler, *database, error) {
	db, err := a.connect(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	box, err := outbox.New(db.Outbox(), nil)
	if err == nil {
		var s *schedule.Scheduler
		if s, err = schedule.New(db.Schedule(), box, nil); err == nil {
			return s, db, nil
		}
	}
	db.close()
	return nil, nil, err
}

// pageOfSchedules is how many are read at a time where one is looked for.
const pageOfSchedules = 500

// find looks for a schedule by its name, without locking it.
func find(ctx context.Context, s *schedule.Scheduler, name string) (*schedule.Details, error) {
	for after := ""; ; {
		page, err := s.List(ctx, after, pageOfSchedules)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if page[i].Name == name {
				return &page[i], nil
			}
			after = page[i].Name
		}
		if len(page) < pageOfSchedules {
			return nil, noSchedule(name)
		}
	}
}

func noSchedule(name string) error {
	return failedWith("there is no schedule "+quote(name), "copy a name from sixfold schedule list")
}

// scheduleError gives what package schedule says a hint.
func scheduleError(err error, name string) error {
	if errors.Is(err, schedule.ErrUnknown) {
		return noSchedule(name)
	}
	return err
}

// inTx runs fn in a transaction. What became of a commit whose answer was lost is not known.
func (db *database) inTx(ctx context.Context, fn func(tx sqltx.Tx) error) error {
	err := db.run.InTx(ctx, fn)
	if errors.Is(err, sqltx.ErrCommitUnknown) {
		return failedWith("the connection was lost during the commit, and nobody knows whether it was done", "look with sixfold schedule show before you do it again")
	}
	return err
}

// instant is a time for people and programs; empty for none.
func instant(t time.Time, zone *time.Location) string {
	if t.IsZero() {
		return ""
	}
	return t.In(zone).Format(time.RFC3339Nano)
}

// zoneOr is a zone by name, or UTC where this machine does not know it.
func zoneOr(name string) *time.Location {
	if zone, err := time.LoadLocation(name); err == nil {
		return zone
	}
	return time.UTC
}

// until is how long it is until t, for people.
func until(t, now time.Time) string {
	switch d := t.Sub(now); {
	case t.IsZero():
		return ""
	case d < 0:
		return short(-d) + " ago"
	default:
		return short(d)
	}
}

func count(n int64) string { return strconv.FormatInt(n, 10) }
