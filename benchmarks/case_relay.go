package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

// drainSize is how many rows one round drains.
func (s *scope) drainSize() int { return pick(s.bench, 100_000, 1000) }

func noKeys(int) string { return "" }

// relayDrain drains rows that were committed before the relay starts: from the call of Run until the last row is settled.
// The peer publishes the same messages with the broker's own client until the last one is confirmed.
func relayDrain(ctx context.Context, s *scope, b *broker) error {
	return s.relayBesideClient(ctx, b, goal{ratioAtLeast, 0.70, 0.80}, func(ctx context.Context, t *tables, n int) error {
		return t.fill(ctx, t.box, n, noKeys)
	})
}

func relayGaps(ctx context.Context, s *scope, b *broker) error {
	return s.relayBesideClient(ctx, b, goal{ratioAtLeast, 0.60, 0.70}, func(ctx context.Context, t *tables, n int) error {
		return t.fillGaps(ctx, n)
	})
}

func (s *scope) relayBesideClient(ctx context.Context, b *broker, g goal, fill func(ctx context.Context, t *tables, n int) error) error {
	t, err := s.onFast(ctx, 8)
	if err != nil {
		return err
	}
	n := s.drainSize()
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: b.name + "'s own client"}, b.goalOn(g),
		s.clientRate(b, n), s.relayRate(t, b, n, fill))
}

// clientRate is an arm: n messages by the broker's own client.
func (s *scope) clientRate(b *broker, n int) arm {
	return func(ctx context.Context) (float64, error) {
		envs, err := envelopes(ctx, n, noKeys)
		if err != nil {
			return 0, err
		}
		if err := b.fresh(ctx); err != nil {
			return 0, err
		}
		runtime.GC()
		start := time.Now()
		err = b.publish(ctx, envs)
		return rate(n, start), err
	}
}

// relayRate is an arm: n rows by one relay.
func (s *scope) relayRate(t *tables, b *broker, n int, fill func(ctx context.Context, t *tables, n int) error) arm {
	return func(ctx context.Context) (float64, error) {
		took, err := s.relayOnce(ctx, t, b, n, fill, func() func() time.Duration {
			start := time.Now()
			return func() time.Duration { return time.Since(start) }
		})
		return float64(n) / took.Seconds(), err
	}
}

// relayOnce fills an empty outbox and drains it, and answers what meter, begun at the relay's start, shows at the end.
func (s *scope) relayOnce(ctx context.Context, t *tables, b *broker, n int, fill func(ctx context.Context, t *tables, n int) error,
	meter func() func() time.Duration) (shown time.Duration, err error) {
	if err := t.clear(ctx, "sixfold.outbox"); err != nil {
		return 0, err
	}
	if err := b.fresh(ctx); err != nil {
		return 0, err
	}
	transport, err := b.open(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, transport.Close(context.WithoutCancel(ctx))) }()
	if err := fill(ctx, t, n); err != nil {
		return 0, err
	}
	runtime.GC()
	read := meter()
	r, err := startRelays(ctx, t.st.Outbox(), transport, 1, outbox.RelayOptions{})
	if err != nil {
		return 0, err
	}
	err = r.drained(ctx, n)
	shown = read()
	return shown, errors.Join(err, r.stop())
}

// relayCPU compares what this process, without servers, spends on each message: user and system time.
func relayCPU(ctx context.Context, s *scope, b *broker) error {
	t, err := s.onFast(ctx, 8)
	if err != nil {
		return err
	}
	n := s.drainSize()
	meter := func() func() time.Duration {
		start := cpuTime()
		return func() time.Duration { return cpuTime() - start }
	}
	perMessage := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	client := func(ctx context.Context) (float64, error) {
		envs, err := envelopes(ctx, n, noKeys)
		if err != nil {
			return 0, err
		}
		if err := b.fresh(ctx); err != nil {
			return 0, err
		}
		runtime.GC()
		read := meter()
		err = b.publish(ctx, envs)
		return perMessage(read()), err
	}
	relayed := func(ctx context.Context) (float64, error) {
		spent, err := s.relayOnce(ctx, t, b, n, func(ctx context.Context, t *tables, n int) error { return t.fill(ctx, t.box, n, noKeys) }, meter)
		return perMessage(spent), err
	}
	return s.compare(ctx, line{Case: s.name, Unit: "µs/msg", PeerName: b.name + "'s own client"}, b.goalOn(goal{ratioAtMost, 1.5, 1.2}), client, relayed)
}

// hotKey relays messages of a single key, and of none.
func hotKey(ctx context.Context, s *scope, b *broker) error {
	return s.keyedBesideUnkeyed(ctx, b, 1, goal{ratioAtLeast, 0.30, 0.50})
}

// thousandKeys relays messages of a thousand keys, and of none.
func thousandKeys(ctx context.Context, s *scope, b *broker) error {
	return s.keyedBesideUnkeyed(ctx, b, 1000, goal{ratioAtLeast, 0.90, 0.97})
}

func (s *scope) keyedBesideUnkeyed(ctx context.Context, b *broker, keys int, g goal) error {
	t, err := s.onFast(ctx, 8)
	if err != nil {
		return err
	}
	n := s.drainSize()
	filled := func(key func(int) string) func(ctx context.Context, t *tables, n int) error {
		return func(ctx context.Context, t *tables, n int) error { return t.fill(ctx, t.box, n, key) }
	}
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: "without keys"}, b.goalOn(g),
		s.relayRate(t, b, n, filled(noKeys)), s.relayRate(t, b, n, filled(keysOf(keys))))
}
