package saga

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
)

// Options of a Box. The zero value is ready to use.
type Options struct {
	// Retention is how long instances are kept that have ended, with their journals, by the database's clock. Stuck ones stay.
	// Default 30 days, at least an hour.
	Retention time.Duration
	// Logger; nil is slog.Default().
	Logger *slog.Logger
}

// A Box is an inbox with what sagas need besides: where messages go, and where instances are kept. All three are of one
// database. It is safe for concurrent use.
type Box[X any] struct {
	in    *inbox.Box[X]
	out   *outbox.Outbox
	store Store
	opts  Options
}

// NewBox makes a Box. The timers of its sagas are messages that wait for their time, so a schedule.Scheduler has to run
// somewhere on the same database. A consumer that uses the inbox also removes instances past their retention. It reports every
// problem at once.
func NewBox[X any](in *inbox.Box[X], out *outbox.Outbox, st Store, opts *Options) (*Box[X], error) {
	b := &Box[X]{in: in, out: out, store: st}
	if opts != nil {
		b.opts = *opts
	}
	var errs []error
	if in == nil {
		errs = append(errs, errors.New("saga: the inbox is nil; pass the box that inbox.New made"))
	}
	if out == nil {
		errs = append(errs, errors.New("saga: the outbox is nil; pass the one by which the steps' messages are published"))
	}
	if st == nil {
		errs = append(errs, errors.New("saga: the store is nil; pass store.Postgres(…).Sagas() or that of another database"))
	}
	o := &b.opts
	if o.Retention == 0 {
		o.Retention = 30 * 24 * time.Hour
	}
	if o.Retention < time.Hour {
		errs = append(errs, fmt.Errorf("saga: option Retention is %v; give at least an hour, or 0 for 30 days", o.Retention))
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	in.Chore(b.purge)
	return b, nil
}

// purgeStep is how many instances one transaction removes.
const purgeStep = 100

// purge removes instances past their retention.
func (b *Box[X]) purge(ctx context.Context) error {
	for n := purgeStep; n == purgeStep && ctx.Err() == nil; {
		var err error
		if n, err = b.store.Records().Purge(ctx, b.opts.Retention, purgeStep); err != nil {
			return fmt.Errorf("saga: remove instances past their retention: %w", err)
		}
	}
	return nil
}
