// Package sqlqueue tests package transport/sqlqueue on real databases.
package sqlqueue

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

func TestMain(m *testing.M) { servers.Main(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// lease is short, so that deaths are noticed soon, and long enough for a busy machine.
const lease = 2 * time.Second

// world is a database that is the broker. Its processes have the grants of `sixfold grants`.
type world struct {
	testing.TB
	kind   string
	topics atomic.Int64

	// connect makes another process's way to the database: with a pool of its own where that can be.
	connect func(tb testing.TB) sqltx.Runner
	make    func(db sqltx.Runner) (*store.Store, error)
	// exec is for what no process does; $1 and so on are its parameters, and {q} is the beginning of table names.
	exec  func(tb testing.TB, q string, args ...any) int64
	ping  func(ctx context.Context) error
	super *pgxpool.Pool // PostgreSQL's
	std   *sql.DB       // MariaDB's
	dsn   string        // PostgreSQL's and MariaDB's
	lost  error         // what an outage looks like
	// stranger may do nothing.
	stranger func(tb testing.TB) sqltx.Runner
}

// worlds runs a test on each kind of database.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("postgres", func(t *testing.T) { t.Parallel(); test(t, newPostgres(t)) })
	t.Run("mariadb", func(t *testing.T) { t.Parallel(); test(t, newMariaDB(t)) })
	t.Run("sqlite", func(t *testing.T) { t.Parallel(); test(t, newSQLite(t)) })
}

func newPostgres(t testing.TB) *world {
	t.Helper()
	as := roles.On(t, servers.Postgres(t).Database(t), nil)
	pool := func(tb testing.TB, dsn string) *pgxpool.Pool {
		tb.Helper()
		config, err := pgxpool.ParseConfig(dsn)
		if err != nil {
			tb.Fatal(err)
		}
		config.MaxConns = 8
		p, err := pgxpool.NewWithConfig(context.Background(), config)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(p.Close)
		return p
	}
	super := pool(t, as.Superuser)
	return &world{TB: t, kind: "postgres",
		connect: func(tb testing.TB) sqltx.Runner { tb.Helper(); return sqltx.PgxDB(pool(tb, as.Broker)) },
		make:    func(db sqltx.Runner) (*store.Store, error) { return store.Postgres(db, nil) },
		exec: func(tb testing.TB, q string, args ...any) int64 {
			tb.Helper()
			tag, err := super.Exec(context.Background(), strings.ReplaceAll(q, "{q}", "sixfold."), args...)
			if err != nil {
				tb.Fatal(err)
			}
			return tag.RowsAffected()
		},
		ping:  super.Ping,
		super: super,
		dsn:   as.Broker,
		lost:  errCut,
		stranger: func(tb testing.TB) sqltx.Runner {
			tb.Helper()
			return sqltx.PgxDB(pool(tb, as.Stranger))
		},
	}
}

func newSQLite(t testing.TB) *world {
	t.Helper()
	path := filepath.Join(t.TempDir(), "broker.db")
	open := func(tb testing.TB) *sql.DB {
		tb.Helper()
		db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = db.Close() })
		return db
	}
	super := open(t)
	w := &world{TB: t, kind: "sqlite",
		connect: func(tb testing.TB) sqltx.Runner { tb.Helper(); return sqltx.StdDB(open(tb)) },
		make:    func(db sqltx.Runner) (*store.Store, error) { return store.SQLite(db, nil) },
		exec: func(tb testing.TB, q string, args ...any) int64 {
			tb.Helper()
			r, err := super.Exec(strings.ReplaceAll(q, "{q}", "sixfold_"), args...)
			if err != nil {
				tb.Fatal(err)
			}
			n, _ := r.RowsAffected()
			return n
		},
		ping: super.PingContext,
		lost: errLocked{},
	}
	st, err := w.make(sqltx.StdDB(super))
	if err == nil {
		err = st.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// fast are options with short waits. A file has one writer at a time, which all hearts need.
func (w *world) fast() *sqlqueue.Options {
	lease := lease
	if w.kind == "sqlite" {
		lease *= 2
	}
	return &sqlqueue.Options{Lease: lease, Poll: 50 * time.Millisecond, Logger: quiet()}
}

// process is a transport over a line that can be cut.
type process struct {
	*sqlqueue.Transport
	line  *line
	store *store.Store
}

func (w *world) process(tb testing.TB, o *sqlqueue.Options) *process {
	tb.Helper()
	return w.processOn(tb, newLine(w.connect(tb), w.lost), o)
}

func (w *world) processOn(tb testing.TB, l *line, o *sqlqueue.Options) *process {
	tb.Helper()
	st, err := w.make(l)
	if err != nil {
		tb.Fatal(err)
	}
	t, err := sqlqueue.New(holding{st.Broker(), l}, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = t.Close(context.Background()) })
	return &process{t, l, st}
}

func (w *world) topic() string { return fmt.Sprintf("topic.%d", w.topics.Add(1)) }

func group(topics ...string) bus.Subscription {
	return bus.Subscription{Topics: topics, Group: "shipping", Ordered: true}
}

// numbered makes n of a key: k/0, k/1 …
func numbered(topic, key string, n int) []bus.Outgoing {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf("%s/%d", key, i)
	}
	return hand.Messages(topic, texts...)
}

// nothing expects that nothing comes for a while.
func nothing(tb testing.TB, src bus.Source) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 300*time.Millisecond)
	defer cancel()
	if ds, err := src.Receive(ctx, 10); err == nil {
		tb.Fatalf("these came: %v", hand.Bodies(ds))
	}
}

type groupOf = store.BrokerGroup

func (w *world) groups(tb testing.TB, p *process) []groupOf {
	tb.Helper()
	gs, err := p.store.Broker().Groups(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return gs
}

// until waits for something that the database shows.
func (w *world) until(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	limit, tick := time.NewTimer(time.Minute), time.NewTicker(20*time.Millisecond)
	defer limit.Stop()
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit.C:
			tb.Fatalf("waited for a minute: %s", what)
		}
	}
}

// idle lets a source wait for so long.
func (w *world) idle(tb testing.TB, src bus.Source, d time.Duration) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), d)
	defer cancel()
	if ds, err := src.Receive(ctx, 10); err == nil {
		tb.Fatalf("these came: %v", hand.Bodies(ds))
	}
}
