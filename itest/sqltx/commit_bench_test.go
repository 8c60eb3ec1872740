package sqltx_test

import (
	"context"
	"runtime"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
)

const (
	outboxTable = `CREATE TABLE o (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, partition smallint NOT NULL, id uuid NOT NULL,
		topic text NOT NULL, key text, headers bytea, body bytea NOT NULL)`
	outboxInsert = "INSERT INTO o(partition, id, topic, key, headers, body) VALUES ($1, $2, $3, $4, $5, $6)"
)

type orderPlaced struct {
	OrderID string
	Cents   int
}

func (orderPlaced) MessageName() string  { return "orders.placed" }
func (m orderPlaced) MessageKey() string { return m.OrderID }

// message is a row of an outbox, from the message on.
func message(ctx context.Context, n int) (sqltx.Statement, error) {
	env, err := sixfold.NewEnvelope(ctx, "shop", nil, orderPlaced{OrderID: "o-1", Cents: n})
	if err != nil {
		return sqltx.Statement{}, err
	}
	if err := sixfold.CheckEnvelope(env); err != nil {
		return sqltx.Statement{}, err
	}
	return sqltx.Statement{SQL: outboxInsert, Args: []any{int16(n % 64), env.ID, "orders", env.Key, []byte(nil), env.Body}}, nil
}

// The ways to commit one message, by their round trips.
var ways = []struct {
	name string
	do   func(ctx context.Context, pool *pgxpool.Pool, db sqltx.DB[pgx.Tx], n int) error
}{
	{"begin, insert, commit (3)", func(ctx context.Context, pool *pgxpool.Pool, _ sqltx.DB[pgx.Tx], n int) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			s, err := message(ctx, n)
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, s.SQL, s.Args...)
			return err
		})
	}},
	{"begin, insert+commit (2)", func(ctx context.Context, pool *pgxpool.Pool, _ sqltx.DB[pgx.Tx], n int) error {
		return pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
			if _, err := c.Exec(ctx, "begin"); err != nil {
				return err
			}
			s, err := message(ctx, n)
			if err != nil {
				return err
			}
			var b pgx.Batch
			b.Queue(s.SQL, s.Args...)
			b.Queue("commit")
			return c.SendBatch(ctx, &b).Close()
		})
	}},
	{"begin+id, insert+commit: CommitWith (2)", func(ctx context.Context, _ *pgxpool.Pool, db sqltx.DB[pgx.Tx], n int) error {
		return db.CommitWith(ctx, func(pgx.Tx) ([]sqltx.Statement, error) {
			s, err := message(ctx, n)
			if err != nil {
				return nil, err
			}
			return []sqltx.Statement{s}, nil
		})
	}},
}

func BenchmarkCommit(b *testing.B) {
	dsn := servers.Postgres(b).Database(b)
	sendDirectly(b, dsn, outboxTable)
	pool := newPool(b, dsn)
	db := postgres.DB(pool)
	for _, w := range ways {
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				if err := w.do(b.Context(), pool, db, n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A unit of work of one message may cost 40 allocations and 2 kB, pgx's included.
func TestCommitWithAllocates(t *testing.T) {
	dsn := servers.Postgres(t).Database(t)
	sendDirectly(t, dsn, outboxTable)
	pool := newPool(t, dsn, oneConn)
	db := postgres.DB(pool)
	for i, w := range ways {
		const warmUps, runs = 10, 200
		var before, after runtime.MemStats
		for n := range warmUps + runs {
			if n == warmUps {
				runtime.ReadMemStats(&before)
			}
			if err := w.do(t.Context(), pool, db, n); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		count, size := (after.Mallocs-before.Mallocs)/runs, (after.TotalAlloc-before.TotalAlloc)/runs
		t.Logf("%s: %d allocations, %d B", w.name, count, size)
		if i == len(ways)-1 && !raceDetector && (count > 40 || size > 2<<10) {
			t.Errorf("CommitWith: %d allocations, %d B", count, size)
		}
	}
}
