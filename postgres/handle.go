package postgres

import (
	"context"
	"strconv"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// A handle is the pgx.Tx that fn is given, or a savepoint in it. Once the transaction has ended it answers
// pgx.ErrTxClosed. It is not pgx's own since that would not know of a COMMIT in a batch, and would go on with a
// connection that belongs to somebody else.
type handle struct {
	conn  *pgx.Conn
	state *handleState // of the transaction
	up    *handle      // nil: the transaction itself
	name  string       // of the savepoint
	done  bool
}

type handleState struct {
	closed     atomic.Bool
	ended      bool // fn committed or rolled back
	savepoints int
	large      pgx.Tx
}

var _ pgx.Tx = (*handle)(nil)

func (h *handle) err() error {
	for s := h; s != nil; s = s.up {
		if s.done || s.state == nil || s.state.closed.Load() {
			return pgx.ErrTxClosed
		}
	}
	return nil
}

// close ends the handle and every savepoint in it.
func (h *handle) close() {
	if h.state == nil {
		return
	}
	h.state.closed.Store(true)
	if h.state.large != nil {
		// With a context that has ended, pgx marks its transaction as closed and sends nothing.
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		_ = h.state.large.Commit(ended)
	}
}

// Begin opens a savepoint, as pgx does.
func (h *handle) Begin(ctx context.Context) (pgx.Tx, error) {
	if err := h.err(); err != nil {
		return nil, err
	}
	h.state.savepoints++
	name := "sp_" + strconv.Itoa(h.state.savepoints)
	if _, err := h.conn.Exec(ctx, "savepoint "+name); err != nil {
		return nil, err
	}
	return &handle{conn: h.conn, state: h.state, up: h, name: name}, nil
}

// Commit releases a savepoint. Of the transaction itself it is refused, and then CommitWith rolls back: the last
// statements would be missing.
func (h *handle) Commit(ctx context.Context) error {
	if err := h.err(); err != nil {
		return err
	}
	if h.up == nil {
		h.state.ended = true
		return errEnded
	}
	_, err := h.conn.Exec(ctx, "release savepoint "+h.name)
	h.done = true
	return err
}

// Rollback rolls back to a savepoint, or the transaction.
func (h *handle) Rollback(ctx context.Context) error {
	if err := h.err(); err != nil {
		return err
	}
	h.done = true
	if h.up != nil {
		_, err := h.conn.Exec(ctx, "rollback to savepoint "+h.name)
		return err
	}
	h.state.ended = true
	_, err := h.conn.Exec(ctx, "rollback")
	if err != nil {
		_ = h.conn.Close(ctx)
	}
	return err
}

func (h *handle) CopyFrom(ctx context.Context, table pgx.Identifier, columns []string, src pgx.CopyFromSource) (int64, error) {
	if err := h.err(); err != nil {
		return 0, err
	}
	return h.conn.CopyFrom(ctx, table, columns, src)
}

func (h *handle) SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults {
	if err := h.err(); err != nil {
		return pgx.FailedBatchResults(b, err)
	}
	return h.conn.SendBatch(ctx, b)
}

// LargeObjects costs a round trip the first time: only a transaction of pgx's own can make them.
func (h *handle) LargeObjects() pgx.LargeObjects {
	err := h.err()
	if err == nil && h.state.large == nil {
		h.state.large, err = h.conn.BeginTx(context.Background(), pgx.TxOptions{BeginQuery: "select"})
	}
	if err != nil {
		var b pgx.Batch
		b.BeginTx(pgx.TxOptions{})
		return pgx.FailedBatchResults(&b, err).Tx().LargeObjects() // which answers ErrTxClosed
	}
	return h.state.large.LargeObjects()
}

func (h *handle) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	if err := h.err(); err != nil {
		return nil, err
	}
	return h.conn.Prepare(ctx, name, sql)
}

func (h *handle) Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	if err := h.err(); err != nil {
		return pgconn.CommandTag{}, err
	}
	return h.conn.Exec(ctx, sql, args...)
}

func (h *handle) Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error) {
	if err := h.err(); err != nil {
		return pgx.FailedBatchResults(&pgx.Batch{}, err).Query()
	}
	return h.conn.Query(ctx, sql, args...)
}

func (h *handle) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	if err := h.err(); err != nil {
		return pgx.FailedBatchResults(&pgx.Batch{}, err).QueryRow()
	}
	return h.conn.QueryRow(ctx, sql, args...)
}

// Conn answers the connection itself, past every check: it belongs to the transaction only until that ends.
func (h *handle) Conn() *pgx.Conn { return h.conn }
