package store

import (
	"context"
	"errors"

	"github.com/sixfold-go/sixfold/outbox"
)

// sqlite runs the checks that only SQLite has.
func (e *examination) sqlite(ctx context.Context, k *liteKeeper) {
	var errs []error
	for _, t := range []outbox.Table{outbox.ToBroker, outbox.ToLocal} {
		errs = append(errs, k.autoincrement(ctx, t))
	}
	e.each("sequence", Problem, errors.Join(errs...), "numbers never come again")
	e.durability(k.durability(ctx))
}
