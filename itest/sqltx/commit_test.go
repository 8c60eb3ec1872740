package sqltx_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
)

const tables = `CREATE TABLE t (id bigint PRIMARY KEY, parent bigint REFERENCES t DEFERRABLE INITIALLY DEFERRED)`

func insert(id int64) sqltx.Statement {
	return sqltx.Statement{SQL: "INSERT INTO t(id) VALUES ($1)", Args: []any{id}}
}

func child(id, parent int64) sqltx.Statement {
	return sqltx.Statement{SQL: "INSERT INTO t(id, parent) VALUES ($1, $2)", Args: []any{id, parent}}
}

func newDatabase(t testing.TB) (dsn string) {
	t.Helper()
	dsn = servers.Postgres(t).Database(t)
	sendDirectly(t, dsn, tables)
	return dsn
}

// warm makes the pool's connection prepare what CommitWith sends, so that the next one has its usual round trips.
func warm(t testing.TB, db sqltx.DB[pgx.Tx]) {
	t.Helper()
	if err := db.CommitWith(t.Context(), func(pgx.Tx) ([]sqltx.Statement, error) {
		return []sqltx.Statement{insert(-1)}, nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestCommitWithInEveryMode(t *testing.T) {
	for _, m := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(m.String(), func(t *testing.T) {
			dsn := newDatabase(t)
			pool := newPool(t, dsn, mode(m), oneConn)
			db := postgres.DB(pool)
			var seen []int64
			returning := sqltx.Statement{SQL: "INSERT INTO t(id) VALUES ($1), ($2) RETURNING id", Args: []any{int64(3), int64(4)}, Scan: func(r sqltx.Rows) error {
				var id int64
				err := r.Scan(&id)
				seen = append(seen, id)
				return err
			}}
			err := db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
				_, err := tx.Exec(t.Context(), "INSERT INTO t(id) VALUES ($1)", int64(1))
				return []sqltx.Statement{insert(2), returning, insert(5)}, err
			})
			if err != nil || !slices.Equal(seen, []int64{3, 4}) {
				t.Errorf("%v, rows %v", err, seen)
			}
			// A failing one leaves nothing, and the connection usable.
			err = db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
				return []sqltx.Statement{insert(6), insert(1), insert(7)}, nil
			})
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "23505" {
				t.Errorf("want a unique violation, got %v", err)
			}
			if err := db.CommitWith(t.Context(), func(pgx.Tx) ([]sqltx.Statement, error) { return nil, nil }); err != nil {
				t.Error(err)
			}
			if got := ids(t, dsn); !slices.Equal(got, []int64{1, 2, 3, 4, 5}) {
				t.Errorf("the table holds %v", got)
			}
			if n := pool.Stat().NewConnsCount(); n != 1 {
				t.Errorf("%d connections were opened, so one was thrown away", n)
			}
		})
	}
}

// guarantees: O1
func TestCommitWithRollsBack(t *testing.T) {
	boom := errors.New("boom")
	exec := func(t *testing.T, tx pgx.Tx, q string, args ...any) {
		t.Helper()
		if _, err := tx.Exec(t.Context(), q, args...); err != nil {
			t.Error(err)
		}
	}
	for name, c := range map[string]struct {
		fn    func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error)
		check func(error) bool
		lost  bool // the connection is thrown away
		left  []int64
	}{
		"fn fails": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			return []sqltx.Statement{insert(2)}, boom
		}, check: func(err error) bool { return errors.Is(err, boom) }},
		"statement fails": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			return []sqltx.Statement{insert(2), {SQL: "SELECT 1/0"}, insert(3)}, nil
		}, check: state("22012")},
		"statement does not parse": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			return []sqltx.Statement{insert(2), {SQL: "SELEKT"}}, nil
		}, check: state("42601")},
		"argument does not encode": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			return []sqltx.Statement{insert(2), {SQL: "INSERT INTO t(id) VALUES ($1)", Args: []any{struct{}{}}}}, nil
		}, check: func(err error) bool { return strings.Contains(err.Error(), "struct {}") }},
		"COMMIT fails": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			return []sqltx.Statement{child(2, 99)}, nil
		}, check: state("23503")},
		"scan fails": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			return []sqltx.Statement{insert(2), {SQL: "SELECT 1", Scan: func(sqltx.Rows) error { return boom }}, insert(3)}, nil
		}, check: func(err error) bool { return errors.Is(err, boom) }},
		"fn hides a failure": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			tx.Exec(t.Context(), "SELECT 1/0")
			return nil, nil
		}, check: func(err error) bool { return errors.Is(err, pgx.ErrTxCommitRollback) }},
		"fn commits": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			return []sqltx.Statement{insert(2)}, tx.Commit(t.Context())
		}, check: func(err error) bool { return errors.Is(err, pgx.ErrTxClosed) }},
		"fn commits and hides it": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			tx.Commit(t.Context())
			return []sqltx.Statement{insert(2)}, nil
		}, check: func(err error) bool { return errors.Is(err, pgx.ErrTxClosed) }},
		"fn rolls back and hides it": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			defer tx.Rollback(t.Context())
			return []sqltx.Statement{insert(2)}, nil
		}, check: func(err error) bool { return errors.Is(err, pgx.ErrTxClosed) }},
		"fn commits by hand": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			exec(t, tx, "COMMIT")
			return []sqltx.Statement{insert(2)}, nil
		}, check: func(err error) bool { return errors.Is(err, pgx.ErrTxClosed) }, left: []int64{1}},
		"open rows": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			_, err := tx.Query(t.Context(), "SELECT generate_series(1, 100000)")
			return []sqltx.Statement{insert(2)}, err
		}, check: func(err error) bool { return strings.Contains(err.Error(), "still open") }, lost: true},
		"connection closed": {fn: func(t *testing.T, tx pgx.Tx) ([]sqltx.Statement, error) {
			exec(t, tx, "INSERT INTO t(id) VALUES (1)")
			tx.Conn().Close(t.Context())
			return []sqltx.Statement{insert(2)}, nil
		}, check: func(err error) bool { return strings.Contains(err.Error(), "before COMMIT was sent") }, lost: true},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := newDatabase(t)
			pool := newPool(t, dsn, oneConn)
			db := postgres.DB(pool)
			var kept pgx.Tx
			err := db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
				kept = tx
				return c.fn(t, tx)
			})
			if err == nil || !c.check(err) || errors.Is(err, sqltx.ErrCommitUnknown) {
				t.Errorf("wrong error: %v", err)
			}
			if err != nil && !c.lost && strings.Contains(err.Error(), "connection was lost") {
				t.Errorf("the server was asked although it had answered: %v", err)
			}
			if got := ids(t, dsn); !slices.Equal(got, c.left) {
				t.Errorf("the table holds %v, want %v", got, c.left)
			}
			closed(t, kept)
			warm(t, db)
			if n := pool.Stat().NewConnsCount(); (n == 1) == c.lost {
				t.Errorf("%d connections were opened", n)
			}
		})
	}
}

func state(code string) func(error) bool {
	return func(err error) bool {
		var pg *pgconn.PgError
		return errors.As(err, &pg) && pg.Code == code
	}
}

// closed expects that nothing can be done with tx any more.
func closed(t *testing.T, tx pgx.Tx) {
	t.Helper()
	ctx := t.Context()
	_, exec := tx.Exec(ctx, "INSERT INTO t(id) VALUES (1000)")
	_, query := tx.Query(ctx, "SELECT 1")
	_, begin := tx.Begin(ctx)
	_, cp := tx.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"id"}, pgx.CopyFromRows([][]any{{1001}}))
	_, prepare := tx.Prepare(ctx, "x", "SELECT 1")
	large := tx.LargeObjects()
	_, create := large.Create(ctx, 0)
	var b pgx.Batch
	b.Queue("SELECT 1")
	var n int
	for what, err := range map[string]error{
		"Exec": exec, "Query": query, "Begin": begin, "CopyFrom": cp, "Prepare": prepare, "LargeObjects": create,
		"QueryRow": tx.QueryRow(ctx, "SELECT 1").Scan(&n), "SendBatch": tx.SendBatch(ctx, &b).Close(), "Commit": tx.Commit(ctx), "Rollback": tx.Rollback(ctx),
	} {
		if !errors.Is(err, pgx.ErrTxClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestCommitWithClosesTheTransaction(t *testing.T) {
	dsn := newDatabase(t)
	pool := newPool(t, dsn, oneConn)
	db := postgres.DB(pool)
	var kept, nested pgx.Tx
	var large pgx.LargeObjects
	err := db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
		var err error
		kept, large = tx, tx.LargeObjects()
		nested, err = tx.Begin(t.Context())
		return []sqltx.Statement{insert(1)}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	closed(t, kept)
	if _, err := nested.Exec(t.Context(), "SELECT 1"); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("nested: %v", err)
	}
	if _, err := large.Create(t.Context(), 0); !errors.Is(err, pgx.ErrTxClosed) {
		t.Errorf("large objects: %v", err)
	}
	if n := pool.Stat().NewConnsCount(); n != 1 {
		t.Errorf("%d connections were opened", n)
	}
	if got := ids(t, dsn); !slices.Equal(got, []int64{1}) {
		t.Errorf("the table holds %v", got)
	}
}

func TestCommitWithPanics(t *testing.T) {
	dsn := newDatabase(t)
	pool := newPool(t, dsn, oneConn)
	db := postgres.DB(pool)
	call := func(f func()) (got any) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { got = recover() }()
			_ = db.CommitWith(t.Context(), func(tx pgx.Tx) ([]sqltx.Statement, error) {
				if _, err := tx.Exec(t.Context(), "INSERT INTO t(id) VALUES (1)"); err != nil {
					t.Error(err)
				}
				f()
				return []sqltx.Statement{insert(2), {SQL: "SELECT 1", Scan: func(sqltx.Rows) error { panic("scan") }}}, nil
			})
		}()
		<-done
		return got
	}
	if got := call(func() { panic("fn") }); got != "fn" {
		t.Errorf("recovered %v", got)
	}
	if got := call(func() {}); got != "scan" {
		t.Errorf("recovered %v", got)
	}
	call(runtime.Goexit)
	if got := ids(t, dsn); len(got) != 0 {
		t.Errorf("the table holds %v", got)
	}
	if s := pool.Stat(); s.AcquiredConns() != 0 || s.NewConnsCount() != 1 {
		t.Errorf("%d acquired, %d opened", s.AcquiredConns(), s.NewConnsCount())
	}
}

func TestCommitWithRoundTrips(t *testing.T) {
	p, dsn := newProxy(t, newDatabase(t))
	db := postgres.DB(newPool(t, dsn, oneConn))
	warm(t, db)
	returning := sqltx.Statement{SQL: "SELECT 1", Scan: func(sqltx.Rows) error { return nil }}
	var next int64
	for _, c := range []struct {
		name string
		want int
		last func() []sqltx.Statement
	}{
		{"nothing", 2, func() []sqltx.Statement { return nil }},
		{"one", 2, func() []sqltx.Statement { next++; return []sqltx.Statement{insert(next)} }},
		{"three", 2, func() []sqltx.Statement {
			next += 3
			return []sqltx.Statement{insert(next - 2), insert(next - 1), insert(next)}
		}},
		{"one that is read", 3, func() []sqltx.Statement { next++; return []sqltx.Statement{returning, insert(next)} }},
	} {
		for i := range 2 { // the first time prepares
			before := p.roundTrips()
			if err := db.CommitWith(t.Context(), func(pgx.Tx) ([]sqltx.Statement, error) { return c.last(), nil }); err != nil {
				t.Fatal(err)
			}
			if n := p.roundTrips() - before; i == 1 && n != c.want {
				t.Errorf("%s: %d round trips, want %d", c.name, n, c.want)
			}
		}
	}
}

// A context that has ended before COMMIT is sent rolls back, and nobody is asked.
func TestCommitWithAfterTheEndOfTheContext(t *testing.T) {
	dsn := newDatabase(t)
	pool := newPool(t, dsn, oneConn)
	db := postgres.DB(pool)
	warm(t, db)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.CommitWith(ctx, func(tx pgx.Tx) ([]sqltx.Statement, error) {
		cancel()
		return []sqltx.Statement{insert(1)}, nil
	})
	if !errors.Is(err, context.Canceled) || errors.Is(err, sqltx.ErrCommitUnknown) || strings.Contains(err.Error(), "connection was lost") {
		t.Error(err)
	}
	if err := db.CommitWith(ctx, func(pgx.Tx) ([]sqltx.Statement, error) { t.Error("fn was called"); return nil, nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if got := ids(t, dsn); !slices.Equal(got, []int64{-1}) {
		t.Errorf("the table holds %v", got)
	}
	if n := pool.Stat().NewConnsCount(); n != 1 {
		t.Errorf("%d connections were opened", n)
	}
}

func TestPostgresDBOfNothing(t *testing.T) {
	db := postgres.DB((*pgxpool.Pool)(nil))
	if !errors.Is(db.Err(), sqltx.ErrNoDB) {
		t.Error(db.Err())
	}
	if err := db.InTx(t.Context(), func(sqltx.Tx) error { return nil }); !errors.Is(err, sqltx.ErrNoDB) {
		t.Error(err)
	}
}

// Few texts stay prepared on a connection, and what goes past that works too.
func TestCommitWithManyTexts(t *testing.T) {
	dsn := newDatabase(t)
	pool := newPool(t, dsn, oneConn)
	db := postgres.DB(pool)
	named := sqltx.Statement{SQL: "INSERT INTO t(id) VALUES (@id)", Args: []any{pgx.NamedArgs{"id": 1000}}}
	want := []int64{}
	for i := range int64(40) {
		text := sqltx.Statement{SQL: "INSERT INTO t(id) VALUES ($1)" + strings.Repeat(" ", int(i)), Args: []any{i}}
		last := []sqltx.Statement{text}
		if i == 0 {
			last = append(last, named)
		}
		if err := db.CommitWith(t.Context(), func(pgx.Tx) ([]sqltx.Statement, error) { return last, nil }); err != nil {
			t.Fatal(err)
		}
		want = append(want, i)
	}
	if got := ids(t, dsn); !slices.Equal(got, append(want, 1000)) {
		t.Errorf("the table holds %v", got)
	}
}

type tracer struct{ seen []string }

func (*tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}
func (*tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}
func (r *tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	for _, q := range d.Batch.QueuedQueries {
		r.seen = append(r.seen, q.SQL)
	}
	return ctx
}
func (*tracer) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (*tracer) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func TestCommitWithIsTraced(t *testing.T) {
	dsn := newDatabase(t)
	var r tracer
	db := postgres.DB(newPool(t, dsn, func(c *pgxpool.Config) { c.ConnConfig.Tracer = &r }))
	warm(t, db)
	if !slices.Equal(r.seen, []string{insert(0).SQL, "commit"}) {
		t.Errorf("the tracer saw %q", r.seen)
	}
}

// A change of the table under a prepared statement fails one transaction, not every one from then on.
func TestCommitWithAfterAChangeOfTheTable(t *testing.T) {
	dsn := newDatabase(t)
	db := postgres.DB(newPool(t, dsn, oneConn))
	add := func(id int64) error {
		return db.CommitWith(t.Context(), func(pgx.Tx) ([]sqltx.Statement, error) {
			return []sqltx.Statement{{SQL: "INSERT INTO t(id) VALUES ($1) RETURNING *", Args: []any{id}}}, nil
		})
	}
	if err := add(1); err != nil {
		t.Fatal(err)
	}
	sendDirectly(t, dsn, "ALTER TABLE t ADD COLUMN more text")
	if err := add(2); !state("0A000")(err) {
		t.Errorf("the test is wrong: %v", err)
	}
	if err := add(3); err != nil {
		t.Error(err)
	}
	if got := ids(t, dsn); !slices.Equal(got, []int64{1, 3}) {
		t.Errorf("the table holds %v", got)
	}
}
