package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
)

// postgresBusiness implements business with pgx.
type postgresBusiness struct{ pool *pgxpool.Pool }

func (b postgresBusiness) fast() sqltx.DB[pgx.Tx]  { return postgres.DB(b.pool) }
func (b postgresBusiness) plain() sqltx.DB[pgx.Tx] { return sqltx.PgxDB(b.pool) }

func (b postgresBusiness) begin(ctx context.Context, fn func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, b.pool, fn)
}

func (postgresBusiness) below(ctx context.Context, tx pgx.Tx, fn func(pgx.Tx) error) error {
	below, err := tx.Begin(ctx)
	if err != nil {
		return err
	}
	if err := fn(below); err != nil {
		return err
	}
	return below.Rollback(ctx)
}

func (postgresBusiness) count(ctx context.Context, tx pgx.Tx, keys []string, id string) ([]int64, error) {
	numbers := make([]int64, len(keys))
	var b pgx.Batch
	for i, key := range keys {
		b.Queue("UPDATE ledger_key SET n = n + 1 WHERE key = $1 RETURNING n", key).QueryRow(func(r pgx.Row) error { return r.Scan(&numbers[i]) })
	}
	b.Queue("INSERT INTO ledger_tx (tx) VALUES ($1)", id)
	return numbers, tx.SendBatch(ctx, &b).Close()
}

func (postgresBusiness) poison(ctx context.Context, tx pgx.Tx, consumer, key string, n int64) (bool, error) {
	tag, err := tx.Exec(ctx, "INSERT INTO ledger_poison (consumer, key, n) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", consumer, key, n)
	return tag.RowsAffected() > 0, err
}

func (postgresBusiness) effects(ctx context.Context, tx pgx.Tx, consumer string, keys []string, numbers []int64, ids []string) error {
	// The order of a batch is kept by the ORDER BY below the insert.
	_, err := tx.Exec(ctx, `INSERT INTO effect (consumer, key, n, msg) SELECT $1, u.key, u.n, u.msg
  FROM unnest($2::text[], $3::bigint[], $4::text[]::uuid[]) WITH ORDINALITY u(key, n, msg, i) ORDER BY u.i`, consumer, keys, numbers, ids)
	return err
}

func (postgresBusiness) cut(_ context.Context, tx pgx.Tx, batch, swallow bool) *cuttable {
	c, ok := tx.Conn().PgConn().Conn().(*cuttable)
	if ok {
		c.arm(map[bool]cut{true: cutExecute, false: cutCommit}[batch], swallow)
	}
	return c
}

// rolledBack does not ask pgx whether it was safe to retry: of a connection that dies while it waits for the answer it says
// that nothing was sent.
func (postgresBusiness) rolledBack(err error) bool {
	var pg *pgconn.PgError
	return errors.Is(err, pgx.ErrTxCommitRollback) || errors.As(err, &pg) && pg.Severity == "ERROR"
}

func (postgresBusiness) passing() error {
	return &pgconn.PgError{Severity: "ERROR", Code: "40001", Message: "on purpose"}
}
