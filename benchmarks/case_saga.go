package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// The three messages of a saga, and its timer.
type (
	sagaBegun  struct{ Key string }
	sagaGoesOn struct{ Key string }
	sagaDone   struct{ Key string }
	sagaLate   struct{ Key string }
)

func (sagaBegun) MessageName() string   { return "bench.saga.begun" }
func (m sagaBegun) MessageKey() string  { return m.Key }
func (sagaGoesOn) MessageName() string  { return "bench.saga.goes_on" }
func (m sagaGoesOn) MessageKey() string { return m.Key }
func (sagaDone) MessageName() string    { return "bench.saga.done" }
func (m sagaDone) MessageKey() string   { return m.Key }
func (sagaLate) MessageName() string    { return "bench.saga.late" }
func (m sagaBegun) key() string         { return m.Key }
func (m sagaGoesOn) key() string        { return m.Key }
func (m sagaDone) key() string          { return m.Key }

// sagaState is as large as that of a small order.
type sagaState struct {
	Customer string
	Cents    int
	Steps    int
}

// newSaga is a saga of three steps. wait sets a timer when it begins.
func (t *tables) newSaga(wait bool, stepped func()) (*saga.Saga[pgx.Tx, sagaState], error) {
	in, err := inbox.New(t.db, t.st.Inbox(), &inbox.Options{Logger: silent()})
	if err != nil {
		return nil, err
	}
	out, err := outbox.New(t.st.Outbox(), nil, outbox.ToConsumer(group, sagaLate{}))
	if err != nil {
		return nil, err
	}
	box, err := saga.NewBox(in, out, t.st.Sagas(), &saga.Options{Logger: silent()})
	if err != nil {
		return nil, err
	}
	return saga.Define("bench", box,
		saga.StartedBy(sagaBegun.key, func(_ context.Context, _ pgx.Tx, s *sagaState, m sagaBegun, fx *saga.Effects) error {
			stepped()
			s.Customer, s.Cents, s.Steps = "customer of "+m.Key, 4711, 1
			if wait {
				fx.After(time.Hour, sagaLate(m))
			}
			return nil
		}),
		saga.On(sagaGoesOn.key, func(_ context.Context, _ pgx.Tx, s *sagaState, _ sagaGoesOn, _ *saga.Effects) error {
			stepped()
			s.Steps++
			return nil
		}),
		saga.On(sagaDone.key, func(_ context.Context, _ pgx.Tx, s *sagaState, _ sagaDone, fx *saga.Effects) error {
			stepped()
			s.Steps++
			fx.Complete()
			return nil
		}),
		saga.OnTimeout(func(_ context.Context, _ pgx.Tx, s *sagaState, _ sagaLate, fx *saga.Effects) error {
			stepped()
			fx.Fail("late")
			return nil
		}))
}

// sagaSteps compares sagas of three steps with as many transactions of an inbox by hand, each of which writes one row.
func sagaSteps(ctx context.Context, s *scope) error {
	const workers = 8
	instances := pick(s.bench, 5000, 70)
	c, err := s.newInboxCase(ctx, workers, 3*instances)
	if err != nil {
		return err
	}
	sagas := func(ctx context.Context) (v float64, err error) {
		if err := c.t.clear(ctx, "sixfold.saga", "sixfold.saga_step", "sixfold.inbox"); err != nil {
			return 0, err
		}
		broker := memory.New(&memory.Options{Topics: []string{topic}, MaxPending: c.n})
		defer func() { err = errors.Join(err, broker.Close(ctx)) }()
		var envs []*sixfold.Envelope
		for _, m := range []func(key string) sixfold.Message{
			func(key string) sixfold.Message { return sagaBegun{key} }, func(key string) sixfold.Message { return sagaGoesOn{key} }, func(key string) sixfold.Message { return sagaDone{key} }} {
			for i := range instances {
				env, err := sixfold.NewEnvelope(ctx, "sixfold", nil, m("order-"+strconv.Itoa(i)))
				if err != nil {
					return 0, err
				}
				envs = append(envs, env)
			}
		}
		if err := sendAll(ctx, broker, envs); err != nil {
			return 0, err
		}
		left := newCounter(c.n)
		g, err := c.t.newSaga(false, func() { left.count(1) })
		if err != nil {
			return 0, err
		}
		start := time.Now()
		if err := runConsumer(ctx, broker, bus.Subscription{Topics: []string{topic}, Group: group, Ordered: true, MaxInFlight: 2000}, bus.Options{Concurrency: workers}, left, g.Routes()...); err != nil {
			return 0, err
		}
		v = rate(c.n, start)
		var done int
		if err := c.t.pool.QueryRow(ctx, "SELECT count(*) FROM sixfold.saga WHERE status = 3").Scan(&done); err != nil || done != instances {
			return 0, errors.Join(err, fmt.Errorf("%d of %d instances have completed", done, instances))
		}
		return v, nil
	}
	return s.compare(ctx, line{Case: s.name, Unit: "steps/s", PeerName: "inbox transactions by hand, 8 workers"}, goal{ratioAtLeast, 0.5, 0.8}, c.byHand(workers, 1), sagas)
}
