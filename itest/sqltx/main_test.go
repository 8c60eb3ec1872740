// Package sqltx_test runs sqltx and the module postgres on real databases.
package sqltx_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) {
	// gorm's cache of prepared statements has a goroutine that nothing ends.
	servers.Main(m, goleak.IgnoreTopFunction("gorm.io/gorm/internal/lru.NewLRU[...].func1"))
}

// newPool opens a pool of at most two connections and expects it to be idle at the end of the test.
func newPool(t testing.TB, dsn string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 2
	for _, f := range change {
		f(config)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !idle(t, func() int { return int(pool.Stat().AcquiredConns()) }) {
			return // Close would wait for them
		}
		pool.Close()
	})
	return pool
}

// idle waits until no connection is in use: one that was lost is thrown away by a goroutine, as a transaction is rolled back whose context
// has ended.
func idle(t testing.TB, inUse func() int) bool {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); inUse() != 0; <-tick.C {
		if time.Now().After(end) {
			t.Errorf("%d connections were not given back within a minute", inUse())
			return false
		}
	}
	return true
}

func oneConn(c *pgxpool.Config) { c.MaxConns = 1 }

func mode(m pgx.QueryExecMode) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = m }
}

// sendDirectly runs statements on a connection of their own, past every proxy.
func sendDirectly(t testing.TB, dsn string, sqls ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, q := range sqls {
		if _, err := conn.Exec(t.Context(), q); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
}

// ids are what the table t holds, in order.
func ids(t testing.TB, dsn string) []int64 {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	rows, err := conn.Query(t.Context(), "SELECT id FROM t ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		t.Fatal(err)
	}
	return got
}
