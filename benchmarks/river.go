package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// orderJob is order as River takes it: the same 256 bytes of JSON.
type orderJob struct{ order }

// Kind implements river.JobArgs.
func (orderJob) Kind() string { return "bench.orders.placed" }

// orderWorker does nothing.
type orderWorker struct {
	river.WorkerDefaults[orderJob]
}

// Work implements river.Worker.
func (*orderWorker) Work(context.Context, *river.Job[orderJob]) error { return nil }

// riverTables makes River's tables.
func riverTables(ctx context.Context, pool *pgxpool.Pool) error {
	m, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: silent()})
	if err != nil {
		return fmt.Errorf("migrate River: %w", err)
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate River: %w", err)
	}
	return nil
}
