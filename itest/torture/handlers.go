package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

var errHandler = errors.New("torture: the handler fails on purpose")

// billing handles one Order and follows every second one by a Note, which a relay brings.
func (c *consumers[X]) billing(ctx context.Context, tx X, m Order) error {
	return c.handle(ctx, tx, "billing", []Order{m}, func(ctx context.Context, m Order) error {
		if m.N%2 != 0 {
			return nil
		}
		_, err := c.out.Publish(ctx, c.plain().Tx(tx), Note(m))
		return err
	})
}

// shipping handles Orders in batches.
func (c *consumers[X]) shipping(ctx context.Context, tx X, ms []Order) error {
	return c.handle(ctx, tx, "shipping", ms, nil)
}

// audit finds its Orders in the database, and follows every fourth by a Mark, which stays there.
func (c *consumers[X]) audit(ctx context.Context, tx X, m Order) error {
	return c.handle(ctx, tx, "audit", []Order{m}, func(ctx context.Context, m Order) error {
		if m.N%4 != 0 {
			return nil
		}
		_, err := c.out.Publish(ctx, c.plain().Tx(tx), Mark(m))
		return err
	})
}

func (c *consumers[X]) notes(ctx context.Context, tx X, ms []Note) error {
	return c.handle(ctx, tx, "notes", orders(ms), nil)
}

func (c *consumers[X]) marks(ctx context.Context, tx X, ms []Mark) error {
	return c.handle(ctx, tx, "marks", orders(ms), nil)
}

func orders[M Note | Mark](ms []M) []Order {
	out := make([]Order, len(ms))
	for i := range ms {
		out[i] = Order(ms[i])
	}
	return out
}

// handle has the effects of ms, fails now and then, and kills the process when it was told to, or by poison.
func (c *consumers[X]) handle(ctx context.Context, tx X, consumer string, ms []Order, follow func(context.Context, Order) error) error {
	envs := envelopes(ctx)
	if len(envs) != len(ms) {
		return sixfold.Permanent(fmt.Errorf("torture: the handler got %d messages with %d envelopes", len(ms), len(envs)))
	}
	keys, numbers, ids := make([]string, len(ms)), make([]int64, len(ms)), make([]string, len(ms))
	for i, m := range ms {
		if err := c.poisoned(ctx, consumer, m); err != nil {
			return err
		}
		if err := c.trouble(ctx, consumer, m, true); err != nil {
			return err
		}
		keys[i], numbers[i], ids[i] = m.Key, m.N, envs[i].ID
	}
	err := c.effects(ctx, tx, consumer, keys, numbers, ids)
	if err != nil {
		return err
	}
	for _, m := range ms {
		if follow != nil {
			if err := follow(ctx, m); err != nil {
				return err
			}
		}
		if err := c.trouble(ctx, consumer, m, false); err != nil {
			return err
		}
	}
	if file := c.killParked.Load(); file != nil && parked(ctx) && c.killParked.CompareAndSwap(file, nil) && claimFile(c.Dir, *file, c.Slot) {
		c.event(eventCrash, consumer, 1)
		killSelf()
	}
	if c.inTx.CompareAndSwap(true, false) {
		c.event(eventKillInTx, consumer, len(ms))
		killSelf()
	}
	return nil
}

// poisoned kills the process at a message that is poison to consumer, until the handlers are repaired. Shipping survives
// the first attempt, so that the message is parked when it kills.
func (c *consumers[X]) poisoned(ctx context.Context, consumer string, m Order) error {
	if m.Poison != consumer || c.right {
		return nil
	}
	attempt := sixfold.InfoFrom(ctx).Attempt
	if consumer == "shipping" && attempt == 1 || c.Options.Crashes > 0 && attempt > c.Options.Crashes {
		return errHandler
	}
	c.event(eventPoison, consumer, 1)
	c.crash(ctx, consumer)
	return nil
}

func (c *consumers[X]) crash(ctx context.Context, consumer string) {
	if parked(ctx) {
		c.event(eventCrash, consumer, 1)
	}
	killSelf()
}

// trouble does what the fate of m says: before its effect, if early, or after it.
func (c *consumers[X]) trouble(ctx context.Context, consumer string, m Order, early bool) error {
	f, attempt := c.Options.fate(consumer, m.Key, m.N), sixfold.InfoFrom(ctx).Attempt
	switch {
	case f.early != early:
	case f.always && !c.right:
		return errHandler
	case f.crashes && attempt == 2 && !c.right:
		c.crash(ctx, consumer)
	case attempt <= f.fails && !c.right:
		return errHandler
	case f.outage > 0:
		if _, before := c.passed.LoadOrStore(fmt.Sprint(consumer, m.Key, m.N), true); before {
			return nil
		}
		if f.outage == 1 {
			return fmt.Errorf("torture: on purpose: %w", bus.ErrUnavailable)
		}
		return c.passing()
	}
	return nil
}

func envelopes(ctx context.Context) []*sixfold.Envelope {
	info := sixfold.InfoFrom(ctx)
	if info.Envelopes != nil {
		return info.Envelopes
	}
	return []*sixfold.Envelope{info.Envelope}
}
