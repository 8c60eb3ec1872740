package main

import (
	"context"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

// poll is how often relays and local consumers look at their table when it is quiet.
const poll = 50 * time.Millisecond

// drain is how long a process that is told to stop has for what it has in hand: on a machine that does much else, and SQLite's one writer at a time,
// longer than the default.
const drain = time.Minute

// patience is how long we wait for the end of a process that was told to stop, or killed.
const patience = drain + time.Minute

// runRelay relays until ctx ends.
func runRelay(ctx context.Context, p *process) error {
	t, err := brokers[p.Options.Broker].transport(ctx, p)
	if err != nil {
		return err
	}
	tapped, err := newTap(t, p)
	if err != nil {
		return err
	}
	r, err := outbox.NewRelay(p.tapped(), tapped, &outbox.RelayOptions{Lease: p.Options.Lease, Poll: poll, Batch: 200, DrainTimeout: drain, Logger: p.log,
		Hooks: outbox.Hooks{Read: func(class string, _, late int) {
			if late > 0 {
				p.event(eventLate, class, late)
			}
		}}})
	if err != nil {
		return err
	}
	if err := r.Run(ctx); err != nil {
		return err
	}
	return t.Close(context.WithoutCancel(ctx))
}
