package postgres

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A handle is the pgx.Tx that fn is given. Once the transaction has ended it answers pgx.ErrTxClosed: pgx's own would
// not know, since COMMIT was sent past it, and would go on with a connection that belongs to somebody else.
type handle struct {
	pgx.Tx
	state *handleState // shared with those of its savepoints
}

type handleState struct {
	closed, large atomic.Bool
}

// close reports whether large objects were asked for.
func (s *handleState) close() (large bool) {
	s.closed.Store(true)
	return s.large.Load()
}

func (h *handle) err() error {
	if h.state.closed.Load() {
		return pgx.ErrTxClosed
	}
	return nil
}

func (h *handle) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := h.err(); err != nil {
		return nil, err
	}
	nested, err := h.Tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &handle{Tx: nested, state: h.state}, nil
}

func (h *handle) Commit(ctx context.Context) error {
	if err := h.err(); err != nil {
		return err
	}
	return h.Tx.Commit(ctx)
}

func (h *handle) Rollback(ctx context.Context) error {
	if err := h.err(); err != nil {
		return err
	}
	return h.Tx.Rollback(ctx)
}

func (h *handle) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error) {
	if err := h.err(); err != nil {
		return 0, err
	}
	return h.Tx.CopyFrom(ctx, table, columns, src)
}

func (h *handle) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := h.err(); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	return h.Tx.SendBatch(ctx, b)
}

func (h *handle) LargeObjects() pgx.LargeObjects {
	if err := h.err(); err != nil {
		var b pgx.Batch
		b.BeginTx(pgx.TxOptions{})
		return pgx.FailedBatchResults(&b, err).Tx().LargeObjects()
	}
	h.state.large.Store(true)
	return h.Tx.LargeObjects()
}

func (h *handle) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := h.err(); err != nil {
		return nil, err
	}
	return h.Tx.Prepare(ctx, name, sql)
}

func (h *handle) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := h.err(); err != nil {
		return pgconn.CommandTag{}, err
	}
	return h.Tx.Exec(ctx, sql, args...)
}

func (h *handle) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := h.err(); err != nil {
		return pgx.FailedBatchResults(&pgx.Batch{}, err).Query()
	}
	return h.Tx.Query(ctx, sql, args...)
}

func (h *handle) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := h.err(); err != nil {
		return pgx.FailedBatchResults(&pgx.Batch{}, err).QueryRow()
	}
	return h.Tx.QueryRow(ctx, sql, args...)
}
