package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// processors is the processor time that this process and the server's side of its connections have spent so far. It is
// what a figure of a busy machine can still be made of: a rate depends on what others do meanwhile, this hardly does.
// Only Linux tells of another process to the nanosecond; elsewhere the error is os.ErrNotExist.
func (t *tables) processors(ctx context.Context) (time.Duration, error) {
	rows, err := t.pool.Query(ctx, "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'")
	if err != nil {
		return 0, err
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		return 0, err
	}
	spent := cpuTime()
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
		if err != nil {
			return 0, fmt.Errorf("processor time of a connection: %w", err)
		}
		ran, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("processor time of a connection: %w", err)
		}
		spent += time.Duration(ns)
	}
	return spent, nil
}
