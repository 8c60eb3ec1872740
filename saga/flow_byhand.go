package saga

import (
	"context"
	"fmt"
	"time"
)

// ByHand has a person change the instance of a key in a transaction of its own, with the entry "what" by who in its journal. run is
// like the function of a step, may be called again in another transaction, and may bring a stuck instance back with Become. The error is
// ErrNoInstance, ErrEnded, or run's own, which writes nothing; nor does a run that drops.
func (g *Saga[X, S]) ByHand(ctx context.Context, key, who, what string, run func(ctx context.Context, s *S, fx *Effects) error) error {
	err := g.box.in.Run(ctx, func(ctx context.Context, x X) error {
		tx := g.box.in.Tx(x)
		in, err := g.box.store.Instances().Load(ctx, tx, g.name, key, "")
		switch {
		case err != nil:
			return err
		case in == nil:
			return fmt.Errorf("%w: of %s, with key %s", ErrNoInstance, g.name, quote(key))
		case in.Status.Ended() && in.Status != Stuck:
			return fmt.Errorf("%w: %s %s is %v", ErrEnded, g.name, quote(key), in.Status)
		}
		var s S
		if err := g.schema.decode(in, &s); err != nil {
			return err
		}
		e := &Entry{Instance: in.ID, Kind: Operated, Version: in.Version, Step: what, Detail: Detail{From: in.Status.String(), Who: line(who, maxReason)}}
		fx := &Effects{unit: g.box.out.Unit(ctx), in: in, known: g.timers}
		begun := time.Now()
		if err := run(ctx, &s, fx); err != nil {
			return err
		}
		e.Took = time.Since(begun)
		if fx.dropped {
			return nil
		}
		if err := fx.finish(); err != nil {
			return err
		}
		return g.save(ctx, tx, in, &s, fx, e)
	})
	if err != nil {
		return fmt.Errorf("saga: %s by hand: %w", what, err)
	}
	return nil
}
