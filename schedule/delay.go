package schedule

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

var (
	// ErrUnknown says that there is no such message or schedule.
	ErrUnknown = errors.New("schedule: there is none of that name or id")
	// ErrPromoted says that a message was due and is on its way, so that it cannot be changed any more.
	ErrPromoted = errors.New("schedule: the message was due and is on its way")
)

// At schedules m in tx: it is published, to where its routes say now, when when has come. It answers the message's id. It is
// Publish with outbox.NotBefore, and takes the same options.
func (s *Scheduler) At(ctx context.Context, tx sqltx.Tx, m sixfold.Message, when time.Time, opts ...outbox.Option) (id string, err error) {
	return s.box.Publish(ctx, tx, m, append(opts[:len(opts):len(opts)], outbox.NotBefore(when))...)
}

// After is At for a duration that begins now, by the database's clock.
func (s *Scheduler) After(ctx context.Context, tx sqltx.Tx, m sixfold.Message, after time.Duration, opts ...outbox.Option) (id string, err error) {
	return s.box.Publish(ctx, tx, m, append(opts[:len(opts):len(opts)], outbox.Delay(after))...)
}

// Cancel removes a scheduled message, to all its destinations, when tx commits. The error is ErrPromoted if the message was due,
// whether it has arrived or not, and ErrUnknown if there is none of that id; after Remembered nobody can tell one from the
// other. While the message is being promoted, Cancel waits for the outcome.
func (s *Scheduler) Cancel(ctx context.Context, tx sqltx.Tx, id string) error {
	if err := noTx(tx, "cancel"); err != nil {
		return err
	}
	if id = strings.ToLower(id); !isID(id) {
		return unknownID("cancel", id)
	}
	found, err := s.store.Delayed().Cancel(ctx, tx, id)
	return foundError("cancel", id, found, err)
}

// Reschedule changes when a scheduled message is due, as Cancel and another At would, but with the same id.
func (s *Scheduler) Reschedule(ctx context.Context, tx sqltx.Tx, id string, when time.Time) error {
	if err := noTx(tx, "reschedule"); err != nil {
		return err
	}
	at, err := outbox.Instant(when)
	if err != nil {
		return err
	}
	if id = strings.ToLower(id); !isID(id) {
		return unknownID("reschedule", id)
	}
	found, err := s.store.Delayed().Reschedule(ctx, tx, id, at, 0)
	if err == nil && found == Changed {
		s.changed()
	}
	return foundError("reschedule", id, found, err)
}

// Waiting lists scheduled messages in the order of their times.
func (s *Scheduler) Waiting(ctx context.Context, page DelayedPage) ([]Waiting, error) {
	if page.Limit <= 0 {
		page.Limit = 100
	}
	if page.ID = strings.ToLower(page.ID); page.ID != "" && !isID(page.ID) {
		return nil, unknownID("show", page.ID)
	}
	return s.store.Delayed().List(ctx, page)
}

func foundError(what, id string, found Found, err error) error {
	switch {
	case err != nil:
		return fmt.Errorf("schedule: %s: %w", what, err)
	case found == Promoted:
		return fmt.Errorf("%w: %s %s; it may arrive any moment, or has arrived", ErrPromoted, what, id)
	case found == Unknown:
		return unknownID(what, id)
	}
	return nil
}

func unknownID(what, id string) error {
	return fmt.Errorf("%w: %s message %.64q: it was never scheduled, was cancelled, or was sent long ago; give the id that scheduling it answered", ErrUnknown, what, id)
}

// isID knows a UUID, in lower case, which is what databases have ids as.
func isID(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
