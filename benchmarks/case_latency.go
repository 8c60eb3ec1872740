package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// pace of a quiet system.
const pace = 5 * time.Millisecond

// latency is the time from the answer to COMMIT until the driver has the broker's confirm, for one unit of work every
// 5 ms. The peer publishes one message every 5 ms with the broker's own client, without a database.
func latency(ctx context.Context, s *scope, b *broker) error {
	t, err := s.onFast(ctx, 4)
	if err != nil {
		return err
	}
	n := pick(s.bench, 1000, 20)
	var raw, own [2][]float64 // p50 and p99 by round
	for round := range s.rounds {
		client, err := s.clientLatencies(ctx, b, n)
		if err != nil {
			return err
		}
		relayed, err := s.relayLatencies(ctx, t, b, n)
		if err != nil {
			return err
		}
		for i, q := range []float64{0.5, 0.99} {
			raw[i] = append(raw[i], quantile(client, q))
			own[i] = append(own[i], quantile(relayed, q))
		}
		s.say("round %d of %d: p50 %.2f ms, p99 %.2f ms", round+1, s.rounds, own[0][round], own[1][round])
	}
	for i, part := range []struct {
		name string
		goal goal
	}{{"p50", goal{valueAtMost, 2, 1.3}}, {"p99", goal{valueAtMost, 8, 4}}} {
		l := line{Case: s.name + "/" + part.name, Unit: "ms", PeerName: b.name + "'s own client, no database"}
		if err := s.against(l, b.goalOn(part.goal), raw[i], own[i]); err != nil {
			return err
		}
	}
	return nil
}

// clientLatencies of n messages, one at a time, in milliseconds.
func (s *scope) clientLatencies(ctx context.Context, b *broker, n int) ([]float64, error) {
	envs, err := envelopes(ctx, n, noKeys)
	if err != nil {
		return nil, err
	}
	if err := b.fresh(ctx); err != nil {
		return nil, err
	}
	tick := time.NewTicker(pace)
	defer tick.Stop()
	out := make([]float64, n)
	for i := range envs {
		<-tick.C
		start := time.Now()
		if err := b.publish(ctx, envs[i:i+1]); err != nil {
			return nil, err
		}
		out[i] = milliseconds(time.Since(start))
	}
	return out, nil
}

// relayLatencies of n units of work, in milliseconds.
func (s *scope) relayLatencies(ctx context.Context, t *tables, b *broker, n int) (out []float64, err error) {
	if err := errors.Join(t.clear(ctx, "business", "sixfold.outbox"), b.fresh(ctx)); err != nil {
		return nil, err
	}
	transport, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, transport.Close(context.WithoutCancel(ctx))) }()
	timed := &timedTransport{Transport: transport, confirmed: make(map[string]time.Time, n)}
	r, err := startRelays(ctx, t.st.Outbox(), timed, 1, outbox.RelayOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.balanced(ctx); err != nil {
		return nil, err
	}
	committed := make(map[string]time.Time, n)
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		id, at, err := t.timedUnit(ctx, makeOrder(i, ""))
		if err != nil {
			return nil, err
		}
		committed[id] = at
	}
	if err := r.drained(ctx, n); err != nil {
		return nil, err
	}
	timed.mu.Lock()
	defer timed.mu.Unlock()
	for id, at := range committed {
		confirmed, ok := timed.confirmed[id]
		if !ok {
			return nil, fmt.Errorf("message %s was settled and never confirmed", id)
		}
		out = append(out, milliseconds(confirmed.Sub(at)))
	}
	return out, nil
}

// timedUnit is a unit of work, and when COMMIT was answered: before Do itself returns, since the relay is woken meanwhile.
func (t *tables) timedUnit(ctx context.Context, o order) (id string, at time.Time, err error) {
	db := t.db
	commitWith := db.CommitWith
	db.CommitWith = func(ctx context.Context, fn func(pgx.Tx) ([]sqltx.Statement, error)) error {
		err := commitWith(ctx, fn)
		at = time.Now()
		return err
	}
	err = outbox.Do(ctx, t.box, db, func(ctx context.Context, tx pgx.Tx, u *outbox.Unit) error {
		id = u.Publish(o)
		return business(ctx, tx, o)
	})
	return id, at, err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// timedTransport notes when messages are confirmed.
type timedTransport struct {
	bus.Transport
	mu        sync.Mutex
	confirmed map[string]time.Time // by id
}

// Open implements bus.Transport.
func (t *timedTransport) Open(ctx context.Context) (bus.Sender, error) {
	s, err := t.Transport.Open(ctx)
	if err != nil {
		return nil, err
	}
	return timedSender{s, t}, nil
}

type timedSender struct {
	bus.Sender
	t *timedTransport
}

// Send implements bus.Sender.
func (s timedSender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	envs := make([]*sixfold.Envelope, len(batch))
	for i := range batch {
		envs[i] = batch[i].Envelope
	}
	return timedPending{s.Sender.Send(ctx, batch), s.t, envs}
}

type timedPending struct {
	bus.Pending
	t    *timedTransport
	envs []*sixfold.Envelope
}

// Wait implements bus.Pending.
func (p timedPending) Wait(ctx context.Context) []error {
	errs := p.Pending.Wait(ctx)
	now := time.Now()
	p.t.mu.Lock()
	defer p.t.mu.Unlock()
	for i, err := range errs {
		if err == nil {
			p.t.confirmed[p.envs[i].ID] = now
		}
	}
	return errs
}
