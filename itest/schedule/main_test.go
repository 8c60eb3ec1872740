// Package schedule tests package schedule on real databases.
package schedule

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) {
	beScheduler()
	servers.Main(m)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// reminder goes to a local consumer, report to a broker.
type (
	reminder struct{ N int }
	report   struct{ N int }
)

func (reminder) MessageName() string { return "test.reminder" }
func (report) MessageName() string   { return "test.report" }

// world is a database with its tables.
type world struct {
	*testing.T
	sqltx.DB[*sql.Tx]
	open        func(db sqltx.Runner) (*store.Store, error)
	driver, dsn string
	raw         *sql.DB
	st          *store.Store
	box         *outbox.Outbox
	s           *schedule.Scheduler
}

// openers make a store by the name of a driver.
func openers() map[string]func(sqltx.Runner) (*store.Store, error) {
	return map[string]func(sqltx.Runner) (*store.Store, error){
		"pgx":    func(db sqltx.Runner) (*store.Store, error) { return store.Postgres(db, nil) },
		"mysql":  func(db sqltx.Runner) (*store.Store, error) { return store.MySQL(db, nil) },
		"sqlite": func(db sqltx.Runner) (*store.Store, error) { return store.SQLite(db, nil) },
	}
}

// databases runs fn on each kind.
func databases(t *testing.T, fn func(w *world)) {
	for name, place := range map[string]func(t *testing.T) (driver, dsn string){
		"PostgreSQL": func(t *testing.T) (string, string) { return "pgx", servers.Postgres(t).Database(t) },
		"MariaDB": func(t *testing.T) (string, string) {
			return "mysql", servers.MariaDB(t).Database(t) + "?interpolateParams=true&tx_isolation=%27READ-COMMITTED%27"
		},
		"SQLite": func(t *testing.T) (string, string) {
			file := filepath.Join(t.TempDir(), "app.db")
			return "sqlite", "file:" + file + "?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
		},
	} {
		t.Run(name, func(t *testing.T) {
			driver, dsn := place(t)
			fn(open(t, driver, dsn))
		})
	}
}

// open makes the tables in a database.
func open(t *testing.T, driver, dsn string) *world {
	t.Helper()
	db := connect(t, driver, dsn)
	w := &world{T: t, DB: sqltx.StdDB(db), raw: db, driver: driver, dsn: dsn, open: openers()[driver]}
	w.st = w.store(w.DB)
	must(t, w.st.Migrate(t.Context()))
	box, err := outbox.New(w.st.Outbox(), nil, routes()...)
	must(t, err)
	w.box = box
	w.s = w.scheduler(w.st)
	return w
}

func routes() []outbox.Route {
	return []outbox.Route{outbox.ToConsumer("reminders", reminder{}), outbox.To("reports", report{})}
}

func connect(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) store(db sqltx.Runner) *store.Store {
	w.Helper()
	st, err := w.open(db)
	must(w.T, err)
	return st
}

func (w *world) scheduler(st *store.Store) *schedule.Scheduler {
	w.Helper()
	s, err := schedule.New(st.Schedule(), w.box, &schedule.Options{Logger: quiet(), Poll: time.Second, OnError: func(error) {}})
	must(w.T, err)
	return s
}

func (w *world) tx(fn func(ctx context.Context, tx sqltx.Tx) error) {
	w.Helper()
	must(w.T, w.InTx(w.Context(), func(tx sqltx.Tx) error { return fn(w.Context(), tx) }))
}

// run runs a scheduler until stop is called.
func (w *world) run(s *schedule.Scheduler) (stop func()) {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		w.Helper()
		cancel()
		must(w.T, <-done)
	}
}

// rows are those of a table, in their order.
func (w *world) rows(t outbox.Table, class string) []outbox.Row {
	w.Helper()
	own := outbox.Ownership{Class: class}
	for i := range own.Partitions {
		own.Partitions[i] = true
	}
	rows, err := w.st.Outbox().Queue(t).Read(w.Context(), 0, 100_000, own)
	must(w.T, err)
	return rows
}

// until asks again until fn is true.
func (w *world) until(what string, fn func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		select {
		case <-ctx.Done():
			w.Fatalf("not within two minutes: %s", what)
		case <-tick.C:
		}
	}
}
