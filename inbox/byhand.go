package inbox

import (
	"context"
	"errors"
)

// Run opens a transaction of the Box's database for what people do. It is repeated in a fresh one as a handler's is, until ctx
// ends.
func (b *Box[X]) Run(ctx context.Context, fn func(ctx context.Context, tx X) error) error {
	for try := 0; ; try++ {
		err := b.db.Run(ctx, func(x X) error { return fn(ctx, x) })
		if err == nil || !b.store.Passing(err) && !errors.Is(err, ErrAgain) || !pause(ctx, try) {
			return err
		}
	}
}
