package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// idleQueries counts the queries a second of one relay that has nothing to do and holds every lease, with the defaults.
func idleQueries(ctx context.Context, s *scope, b *broker) error {
	t, err := s.onFast(ctx, 4)
	if err != nil {
		return err
	}
	if _, err := t.pool.Exec(ctx, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"); err != nil {
		return s.report.skip(s.name, "the server has no pg_stat_statements: "+err.Error())
	}
	if err := b.fresh(ctx); err != nil {
		return err
	}
	transport, err := b.open(ctx)
	if err != nil {
		return err
	}
	s.atEnd(func() error { return transport.Close(context.WithoutCancel(ctx)) })
	r, err := startRelays(ctx, t.st.Outbox(), transport, 1, outbox.RelayOptions{})
	if err != nil {
		return err
	}
	s.atEnd(r.stop)
	if err := r.balanced(ctx); err != nil {
		return err
	}
	// One row through, so that statements are prepared, and then until it polls slowly.
	if err := errors.Join(t.fill(ctx, t.box, 1, noKeys), r.drained(ctx, 1), pause(ctx, pick(s.bench, 5*time.Second, 2*time.Second))); err != nil {
		return err
	}
	before, err := t.queries(ctx)
	if err != nil {
		return err
	}
	start := time.Now()
	if err := pause(ctx, pick(s.bench, time.Minute, 10*time.Second)); err != nil {
		return err
	}
	after, err := t.queries(ctx)
	if err != nil {
		return err
	}
	return s.report.add(line{Case: s.name, Value: rate(after-before, start), Unit: "queries/s"}, goal{valueAtMost, 2, 1})
}

// queries is how many statements this database has run but those that ask.
func (t *tables) queries(ctx context.Context) (n int, err error) {
	err = t.pool.QueryRow(ctx, `SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
		WHERE d.datname = current_database() AND s.query NOT LIKE '%pg_stat_statements%'`).Scan(&n)
	return n, err
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// heapGrowth compares the heap of a process with a relay after another million messages, each with a key of its own, with
// that after two hundred thousand, when buffers and pools have the size that they keep.
func heapGrowth(ctx context.Context, s *scope, b *broker) error {
	t, err := s.onFast(ctx, 8)
	if err != nil {
		return err
	}
	total := pick(s.bench, 1_000_000, 10_000)
	if err := b.fresh(ctx); err != nil {
		return err
	}
	transport, err := b.open(ctx)
	if err != nil {
		return err
	}
	s.atEnd(func() error { return transport.Close(context.WithoutCancel(ctx)) })
	empty, err := swallow(ctx, transport)
	if err != nil {
		return err
	}
	r, err := startRelays(ctx, t.st.Outbox(), transport, 1, outbox.RelayOptions{})
	if err != nil {
		return err
	}
	s.atEnd(r.stop)
	done := 0
	heapAfter := func(n int) (float64, error) {
		for done < n {
			step := min(10*fillStep, n-done)
			from := done
			err := t.fill(ctx, t.box, step, func(i int) string { return fmt.Sprintf("order-%08d", from+i) })
			if err != nil {
				return 0, err
			}
			done += step
			if err := r.drained(ctx, done); err != nil {
				return 0, err
			}
		}
		if err := empty(); err != nil {
			return 0, err
		}
		var m runtime.MemStats
		for range 3 { // what pools keep survives two collections
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		s.say("%d messages: %d kB", n, m.HeapAlloc>>10)
		return float64(m.HeapAlloc >> 10), nil
	}
	few, err := heapAfter(total / 5)
	if err != nil {
		return err
	}
	many, err := heapAfter(total/5 + total)
	if err != nil {
		return err
	}
	return s.against(line{Case: s.name, Unit: "kB", PeerName: "a million messages before"}, goal{ratioAtMost, 1.05, 1}, []float64{few}, []float64{many})
}

// swallow takes what arrives at the broker in the process, which would keep it in our own heap; empty waits until it has
// taken everything. Other brokers keep their messages to themselves.
func swallow(ctx context.Context, t bus.Transport) (empty func() error, err error) {
	m, ok := t.(*memory.Transport)
	if !ok {
		return func() error { return nil }, nil
	}
	src, err := m.Subscribe(ctx, bus.Subscription{Topics: []string{topic}, Group: "swallow"})
	if err != nil {
		return nil, err
	}
	progress := make(chan error, 1)
	go func() { // ends when the transport is closed
		var ss []bus.Settlement
		for {
			ds, err := src.Receive(ctx, batchSize)
			ss = ss[:0]
			for _, d := range ds {
				ss = append(ss, bus.Settlement{Delivery: d})
			}
			if err == nil {
				err = errors.Join(src.Settle(ctx, ss)...)
			}
			clear(ss)
			select {
			case progress <- err:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return func() error {
		for m.Pending(topic) > 0 {
			if err := <-progress; err != nil {
				return err
			}
		}
		return nil
	}, nil
}
