package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sixfold-go/sixfold/deadletter"
)

// redriveRun names the redrive, so that who comes after a kill goes on with it.
const redriveRun = "torture"

// runRedriver sends all dead letters again. The first one of it dies after its first step.
func runRedriver(ctx context.Context, p *process) error {
	letters, err := deadletter.New(p.store.DeadLetters())
	if err != nil {
		return err
	}
	o := deadletter.Options{Who: p.Slot, Reason: "the handlers are repaired", Run: redriveRun, Batch: 10, Progress: func(deadletter.Report) {
		if p.Incarnation == 1 {
			killSelf()
		}
	}}
	report, err := letters.Redrive(ctx, deadletter.Filter{}, o)
	if err == nil && report.Resumed {
		p.event(eventResumed, "", report.Done)
	}
	return err
}

// repairedFile says to consumers that start that their handlers are repaired.
const repairedFile = "repaired"

func (c Config) repaired() bool {
	_, err := os.Stat(filepath.Join(c.Dir, repairedFile))
	return err == nil
}

// redrive repairs the handlers and has all dead letters sent again.
func (r *run) redrive(ctx context.Context) error {
	if err := r.bury(ctx); err != nil {
		return err
	}
	r.say("%d dead letters; the handlers are repaired", r.buried)
	if err := os.WriteFile(filepath.Join(r.o.Dir, repairedFile), nil, 0o600); err != nil {
		return fmt.Errorf("torture: repair the handlers: %w", err)
	}
	for _, s := range r.slots {
		if s.role != "consumer" {
			continue
		}
		for {
			err := r.stop(ctx, s)
			if err == nil {
				break
			}
			if !errors.Is(err, errNobody) {
				return err
			}
			if err := pauseFor(ctx, poll); err != nil {
				return err
			}
		}
	}
	r.mu.Lock()
	r.repaired = true
	r.mu.Unlock()
	if r.buried == 0 {
		return nil
	}
	redriver, err := r.add("redriver", "redriver1")
	if err != nil {
		return err
	}
	select {
	case <-redriver.finished:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bury writes down which messages are dead letters.
func (r *run) bury(ctx context.Context) error {
	d := r.database()
	n, err := r.pool.exec(ctx, `INSERT INTO dead (parked, consumer, key, n, msg)
  SELECT n, consumer, coalesce(key, ''), `+d.numberOf()+", "+d.asID("id")+" FROM sixfold.parked WHERE state = 2")
	if err != nil {
		return fmt.Errorf("torture: count the dead letters: %w", err)
	}
	r.buried = int(n)
	return nil
}

// quiet waits until everything was handled, or waits behind a dead letter.
func (r *run) quiet(ctx context.Context) error {
	d := r.database()
	return r.holds(ctx, `SELECT (SELECT sum(3 * n + floor(n / 2) + floor(n / 4)) FROM ledger_key) <= (SELECT count(*) FROM effect) +
    (SELECT coalesce(sum(1 + CASE WHEN consumer = 'billing' AND m % 2 = 0 OR consumer = 'audit' AND m % 4 = 0 THEN 1 ELSE 0 END), 0)
      FROM (SELECT consumer, `+d.numberOf()+` AS m FROM sixfold.parked WHERE NOT relay) p)
  AND NOT EXISTS (SELECT 1 FROM sixfold.line WHERE due < `+d.never()+")")
}
