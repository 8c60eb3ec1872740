package outbox

import (
	"errors"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
)

// DelayedRow is a row that waits for its time, and then moves into its table.
type DelayedRow struct {
	Row
	Table Table
	// At is when it is due, in microseconds and UTC. If it is zero, the row is due After from now by the database's clock.
	At    time.Time
	After time.Duration
}

// NotBefore holds the message back until t, which is cut to microseconds. A time that has passed is due at once. What
// moves messages on when they are due is the Run of a schedule.Scheduler; without one they stay. Messages of one key that
// are held back are in the order of their times. ID, Unique and the routes count now, not then.
func NotBefore(t time.Time) Option {
	return func(d *draft) {
		at, err := Instant(t)
		if err != nil {
			d.err = errors.Join(d.err, err)
			return
		}
		d.later, d.at, d.after = true, at, 0
	}
}

// Delay holds the message back until d has passed since now, by the database's clock; see NotBefore. 0 is no delay.
func Delay(after time.Duration) Option {
	return func(d *draft) {
		if after < 0 {
			d.fail("delay of %v: it is negative; give a positive duration, or 0 for none", after)
			return
		}
		d.later, d.at, d.after = after > 0, time.Time{}, after
		if after > 0 {
			d.after = max(after, time.Microsecond) // databases count in these
		}
	}
}

// Instant is t as databases keep it: in UTC and microseconds. The zero time, and years that no database keeps, are refused.
func Instant(t time.Time) (time.Time, error) {
	at := t.UTC().Truncate(time.Microsecond)
	switch {
	case t.IsZero():
		return at, fmt.Errorf("outbox: %w time: it is zero; give the instant at which the message is due", sixfold.ErrInvalid)
	case at.Year() < 1970 || at.Year() > 9999:
		return at, fmt.Errorf("outbox: %w time %s: its year is outside 1970 to 9999; give the instant at which the message is due", sixfold.ErrInvalid, at.Format(time.RFC3339))
	}
	return at, nil
}

// delay turns the rows of a message that is held back into delayed ones.
func (w *written) delay(d *draft) {
	for _, part := range [...]struct {
		t    Table
		rows []Row
	}{{ToBroker, w.broker}, {ToLocal, w.local}} {
		for _, r := range part.rows {
			w.delayed = append(w.delayed, DelayedRow{Row: r, Table: part.t, At: d.at, After: d.after})
		}
	}
	w.broker, w.local = nil, nil
}

// refuseDelayed is for ways of writing that know two tables only.
func (w *written) refuseDelayed(verb, name string) error {
	if len(w.delayed) == 0 {
		return nil
	}
	return fmt.Errorf("outbox: %s %s: %w delay: a message that is held back is not written into the outbox; use Publish", verb, name, sixfold.ErrInvalid)
}
