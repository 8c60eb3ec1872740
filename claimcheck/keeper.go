package claimcheck

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sixfold-go/sixfold"
)

// DefaultAge is how long blobs are kept unless KeeperOptions say otherwise.
const DefaultAge = 30 * 24 * time.Hour

// minAge is the least age of what may be purged: clocks differ, and names have days only.
const minAge = 24 * time.Hour

// KeeperOptions are optional; nil and the zero value mean the defaults.
type KeeperOptions struct {
	// Age of the blobs that are removed, at least 24 h. It must be longer than any message waits: in an outbox, at a broker, and as a
	// dead letter that may be redriven. 0: DefaultAge.
	Age time.Duration
	// Every is how often. 0: an hour.
	Every time.Duration
	// Logger for what was removed, and for failures. Nil: slog.Default.
	Logger *slog.Logger
}

// A Keeper removes old blobs. One process is enough; several do no harm.
type Keeper struct {
	p Purger
	o KeeperOptions
}

// NewKeeper makes a Keeper of p. Errors name everything that is wrong, and wrap sixfold.ErrInvalid.
func NewKeeper(p Purger, opts *KeeperOptions) (*Keeper, error) {
	k := &Keeper{p: p}
	if opts != nil {
		k.o = *opts
	}
	var errs []error
	if p == nil {
		errs = append(errs, fmt.Errorf("claimcheck: keeper: %w store: it is nil; pass one that can purge, for example of NewDir", sixfold.ErrInvalid))
	}
	if k.o.Age == 0 {
		k.o.Age = DefaultAge
	}
	if k.o.Age < minAge {
		errs = append(errs, fmt.Errorf("claimcheck: keeper: %w option Age: it is %v, the least is %v; keep blobs longer than any message may wait", sixfold.ErrInvalid, k.o.Age, minAge))
	}
	if k.o.Every == 0 {
		k.o.Every = time.Hour
	}
	if k.o.Every < time.Second {
		errs = append(errs, fmt.Errorf("claimcheck: keeper: %w option Every: it is %v, the least is a second; leave it 0 for an hour", sixfold.ErrInvalid, k.o.Every))
	}
	if k.o.Logger == nil {
		k.o.Logger = slog.Default()
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return k, nil
}

// Run purges at once, and again and again until ctx ends; then it returns nil. What fails is logged and tried again.
func (k *Keeper) Run(ctx context.Context) error {
	tick := time.NewTicker(k.o.Every)
	defer tick.Stop()
	for {
		removed, err := k.p.Purge(ctx, k.o.Age)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			k.o.Logger.Warn("claimcheck: old blobs cannot be removed", "removed", removed, "error", err)
		case removed > 0:
			k.o.Logger.Info("claimcheck: removed old blobs", "removed", removed, "age", k.o.Age)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
