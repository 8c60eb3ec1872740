package sqltx

import (
	"context"
	"reflect"
)

type pgxRows interface {
	Rows
	Close()
}

type pgxTag interface{ RowsAffected() int64 }

// pgxTx is pgx.Tx, written without importing pgx.
type pgxTx[T pgxTag, R pgxRows] interface {
	Exec(ctx context.Context, q string, args ...any) (T, error)
	Query(ctx context.Context, q string, args ...any) (R, error)
	Commit(ctx context.Context) error
	Rollback(ctx context.Context) error
}

// Pgx adapts a pgx.Tx. T and R are inferred.
func Pgx[T pgxTag, R pgxRows](tx pgxTx[T, R]) Tx {
	if isNil(tx) {
		return Tx{}
	}
	return Tx{on: pgxAdapter[T, R]{tx}}
}

func isNil(v any) bool {
	if v == nil {
		return true
	}
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

type pgxAdapter[T pgxTag, R pgxRows] struct{ tx pgxTx[T, R] }

func (p pgxAdapter[T, R]) exec(ctx context.Context, q string, args []any) (int64, error) {
	tag, err := p.tx.Exec(ctx, q, args...)
	if err != nil {
		return 0, err
	}
	return tag.RowsAffected(), nil
}

func (p pgxAdapter[T, R]) query(ctx context.Context, q string, args []any) (closeRows, error) {
	rows, err := p.tx.Query(ctx, q, args...)
	if err != nil {
		return nil, err
	}
	return pgxCloseRows{rows}, nil
}

type pgxCloseRows struct{ pgxRows }

func (r pgxCloseRows) close() { r.pgxRows.Close() }

// pgxPool is *pgxpool.Pool or *pgx.Conn, written without importing pgx.
type pgxPool[X pgxTx[T, R], T pgxTag, R pgxRows] interface {
	Begin(ctx context.Context) (X, error)
	Exec(ctx context.Context, q string, args ...any) (T, error)
	Query(ctx context.Context, q string, args ...any) (R, error)
}

// PgxDB is the DB of a *pgxpool.Pool. Every type parameter is inferred. Package postgres has one that needs fewer
// round trips.
func PgxDB[X pgxTx[T, R], T pgxTag, R pgxRows](pool pgxPool[X, T, R]) DB[X] {
	if isNil(pool) {
		return DB[X]{}
	}
	return DB[X]{
		Run: func(ctx context.Context, fn func(X) error) error {
			tx, err := pool.Begin(ctx)
			if err != nil {
				return err
			}
			undo := true
			defer func() {
				if undo {
					ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackLimit)
					defer cancel()
					_ = tx.Rollback(ctx) // fn's failure is the reason; a connection that cannot roll back is closed
				}
			}()
			if err := fn(tx); err != nil {
				return err
			}
			undo = false
			return tx.Commit(ctx)
		},
		Tx: func(tx X) Tx { return Pgx(tx) },
		Exec: func(ctx context.Context, q string, args ...any) (int64, error) {
			tag, err := pool.Exec(ctx, q, args...)
			if err != nil {
				return 0, err
			}
			return tag.RowsAffected(), nil
		},
		Query: func(ctx context.Context, q string, args []any, scan func(Rows) error) error {
			rows, err := pool.Query(ctx, q, args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				if err := scan(rows); err != nil {
					return err
				}
			}
			return rows.Err()
		},
	}
}
