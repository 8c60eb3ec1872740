package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

// twoRelays compares two relays, each with half of the partitions, with one. Both are at work when the rows are committed,
// all at once.
func twoRelays(ctx context.Context, s *scope, b *broker) error {
	t, err := s.onFast(ctx, 8)
	if err != nil {
		return err
	}
	n := s.drainSize()
	with := func(relays int) arm {
		return func(ctx context.Context) (v float64, err error) {
			if err := errors.Join(t.clear(ctx, "sixfold.outbox"), b.fresh(ctx)); err != nil {
				return 0, err
			}
			transport, err := b.open(ctx)
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, transport.Close(context.WithoutCancel(ctx))) }()
			// A short lease lets them share soon; it costs each a heartbeat every half second.
			r, err := startRelays(ctx, t.st.Outbox(), transport, relays, outbox.RelayOptions{Lease: 2 * time.Second})
			if err != nil {
				return 0, err
			}
			defer func() { err = errors.Join(err, r.stop()) }()
			if err := r.balanced(ctx); err != nil {
				return 0, err
			}
			return t.fillAndDrain(ctx, r, n)
		}
	}
	g := goal{ratioAtLeast, 0.8, 1}
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: "one relay"}, g, with(1), with(2))
}

// fillAndDrain commits n rows at once while relays are at work, and answers the rate at which they drain them.
func (t *tables) fillAndDrain(ctx context.Context, r *relays, n int) (float64, error) {
	before := int(r.settled.Load())
	if err := t.fill(ctx, t.box, n, noKeys); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := r.drained(ctx, before+n); err != nil {
		return 0, err
	}
	v := rate(n, start)
	runtime.GC()
	return v, nil
}

// idleSnapshot compares a relay's rate in a database where 300,000 rows were produced and drained beside somebody's open
// snapshot, which keeps all of them as dead rows in the table, with that of another relay in a database without one.
func idleSnapshot(ctx context.Context, s *scope, b *broker) error {
	chunk := pick(s.bench, 50_000, 500)
	dead := pick(s.bench, 300_000, 1500)
	if err := b.fresh(ctx); err != nil {
		return err
	}
	transport, err := b.open(ctx)
	if err != nil {
		return err
	}
	s.atEnd(func() error { return transport.Close(context.WithoutCancel(ctx)) })
	drained := func(snapshot bool) (arm, error) {
		t, err := s.onFast(ctx, 8)
		if err != nil {
			return nil, err
		}
		r, err := startRelays(ctx, t.st.Outbox(), transport, 1, outbox.RelayOptions{})
		if err != nil {
			return nil, err
		}
		s.atEnd(r.stop)
		once := func(ctx context.Context) (float64, error) { return t.fillAndDrain(ctx, r, chunk) }
		if !snapshot {
			return once, nil
		}
		release, err := t.openSnapshot(ctx)
		if err != nil {
			return nil, err
		}
		s.atEnd(release)
		s.say("a snapshot is open; %d rows are produced and drained", dead)
		for range dead / chunk {
			if _, err := once(ctx); err != nil {
				return nil, err
			}
		}
		return once, nil
	}
	without, err := drained(false)
	if err != nil {
		return err
	}
	with, err := drained(true)
	if err != nil {
		return err
	}
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: "no snapshot"}, goal{ratioAtLeast, 0.90, 1}, without, with)
}

// openSnapshot opens a transaction that keeps every row that is deleted from now on.
func (t *tables) openSnapshot(ctx context.Context) (release func() error, err error) {
	conn, err := t.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM business"} {
		if _, err := conn.Exec(ctx, q); err != nil {
			conn.Release()
			return nil, err
		}
	}
	return func() error {
		_, err := conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
		conn.Release()
		return err
	}, nil
}

// fullSweep is the time from the call of Run until the first batch is handed over, for a relay that begins above 300,000
// dead rows. The peer begins on a table without.
func fullSweep(ctx context.Context, s *scope, b *broker) error {
	dead := pick(s.bench, 300_000, 2000)
	clean, err := s.onFast(ctx, 4)
	if err != nil {
		return err
	}
	full, err := s.onFast(ctx, 4)
	if err != nil {
		return err
	}
	release, err := full.openSnapshot(ctx)
	if err != nil {
		return err
	}
	s.atEnd(release)
	if err := full.fill(ctx, full.box, dead, noKeys); err != nil {
		return err
	}
	if _, err := full.pool.Exec(ctx, "DELETE FROM sixfold.outbox"); err != nil {
		return err
	}
	if err := b.fresh(ctx); err != nil {
		return err
	}
	transport, err := b.open(ctx)
	if err != nil {
		return err
	}
	s.atEnd(func() error { return transport.Close(context.WithoutCancel(ctx)) })
	first := func(t *tables) arm {
		return func(ctx context.Context) (float64, error) {
			if err := t.fill(ctx, t.box, 1, noKeys); err != nil {
				return 0, err
			}
			start := time.Now()
			r, err := startRelays(ctx, t.st.Outbox(), transport, 1, outbox.RelayOptions{})
			if err != nil {
				return 0, err
			}
			err = errors.Join(r.drained(ctx, 1), r.stop())
			return milliseconds(r.firstSend().Sub(start)), err
		}
	}
	return s.compare(ctx, line{Case: s.name, Unit: "ms", PeerName: "no dead rows"}, goal{valueAtMost, 150, 60}, first(clean), first(full))
}
