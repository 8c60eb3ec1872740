package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
)

// localQueue compares the queue that the database itself is, with handlers that do nothing and the order of 1,000 keys,
// with River, which keeps no order, on jobs that do nothing. All of them are committed before. Both are timed until the
// last one is done for good: deleted here, marked as completed there.
func localQueue(ctx context.Context, s *scope) error {
	t, err := s.onFast(ctx, 16)
	if err != nil {
		return err
	}
	if err := riverTables(ctx, t.pool); err != nil {
		return err
	}
	jobs := pick(s.bench, 40_000, 500)
	workers, err := s.tuneRiver(ctx, t, jobs)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("River keeps no order; its fastest here is with %d workers", workers)
	return s.compare(ctx, line{Case: s.name, Unit: "msg/s", PeerName: "River", Note: note}, goal{ratioAtLeast, 6, 12},
		t.riverRate(workers, jobs), t.localRate(pick(s.bench, 200_000, 1000)))
}

// localRate is an arm: n rows by a consumer of the database.
func (t *tables) localRate(n int) arm {
	return func(ctx context.Context) (float64, error) {
		if err := t.clear(ctx, "sixfold.local"); err != nil {
			return 0, err
		}
		if err := t.fill(ctx, t.to, n, keysOf(1000)); err != nil {
			return 0, err
		}
		local, err := outbox.NewLocal(t.st.Outbox(), t.db, &outbox.LocalOptions{Logger: silent()})
		if err != nil {
			return 0, err
		}
		c := newCounter(n)
		runtime.GC()
		start := time.Now()
		err = runConsumer(ctx, local, bus.Subscription{Group: topic, Ordered: true, MaxInFlight: 10_000}, bus.Options{}, c,
			sixfold.On(func(context.Context, order) error { c.count(1); return nil }))
		v := rate(n, start)
		if err != nil {
			return 0, err
		}
		return v, t.expect(ctx, "SELECT count(*) FROM sixfold.local", 0)
	}
}

// tuneRiver finds the number of workers with which River is fastest on this machine.
func (s *scope) tuneRiver(ctx context.Context, t *tables, jobs int) (best int, err error) {
	var fastest float64
	for _, workers := range pick(s.bench, []int{100, 300, 1000, 2000}, []int{100}) {
		v, err := t.riverRate(workers, jobs)(ctx)
		if err != nil {
			return 0, err
		}
		s.say("River with %d workers: %.0f jobs/s", workers, v)
		if v > fastest {
			best, fastest = workers, v
		}
	}
	return best, nil
}

// riverRate is an arm: n jobs by River with its shortest intervals and no timer for each job. As in River's own benchmark,
// a subscription tells when a job is completed in the database.
func (t *tables) riverRate(workers, n int) arm {
	return func(ctx context.Context) (float64, error) {
		if err := t.clear(ctx, "river_job"); err != nil {
			return 0, err
		}
		registered := river.NewWorkers()
		if err := river.AddWorkerSafely(registered, &orderWorker{}); err != nil {
			return 0, err
		}
		client, err := river.NewClient(riverpgxv5.New(t.pool), &river.Config{
			FetchCooldown: river.FetchCooldownMin, FetchPollInterval: river.FetchPollIntervalMin, JobTimeout: -1,
			Logger: silent(), Workers: registered, Queues: map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
		})
		if err != nil {
			return 0, err
		}
		if err := insertJobs(ctx, client, n); err != nil {
			return 0, err
		}
		completed, unsubscribe := client.SubscribeConfig(&river.SubscribeConfig{ChanSize: n, Kinds: []river.EventKind{river.EventKindJobCompleted}})
		defer unsubscribe()
		runtime.GC()
		start := time.Now()
		if err := client.Start(ctx); err != nil {
			return 0, err
		}
		for range n {
			select {
			case <-completed:
			case <-ctx.Done():
				return 0, errors.Join(ctx.Err(), client.StopAndCancel(context.WithoutCancel(ctx)))
			}
		}
		v := rate(n, start)
		if err := client.Stop(ctx); err != nil {
			return 0, err
		}
		return v, t.expect(ctx, "SELECT count(*) FROM river_job WHERE state <> 'completed'", 0)
	}
}

func insertJobs(ctx context.Context, client *river.Client[pgx.Tx], n int) error {
	for from := 0; from < n; from += fillStep {
		params := make([]river.InsertManyParams, 0, fillStep)
		for i := from; i < min(n, from+fillStep); i++ {
			params = append(params, river.InsertManyParams{Args: orderJob{makeOrder(i, "")}})
		}
		if _, err := client.InsertManyFast(ctx, params); err != nil {
			return err
		}
	}
	return nil
}

// expect fails unless a count is what it must be.
func (t *tables) expect(ctx context.Context, query string, want int) error {
	var got int
	if err := t.pool.QueryRow(ctx, query).Scan(&got); err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("%s: %d, expected %d", query, got, want)
	}
	return nil
}
