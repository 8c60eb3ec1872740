// Package saga tests package saga on real databases.
package saga

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) {
	beTown()
	servers.Main(m)
}

// A tab is opened, drinks are added to it, and it is closed.
type (
	opened struct{ Table string }
	drink  struct{ Table string }
	closed struct{ Table string }
	late   struct{ Table string }
	bill   struct{ Table string }
)

func (opened) MessageName() string { return "bar.opened" }
func (drink) MessageName() string  { return "bar.drink" }
func (closed) MessageName() string { return "bar.closed" }
func (late) MessageName() string   { return "bar.late" }
func (bill) MessageName() string   { return "bar.bill" }

type tab struct{ Drinks int }

// world is a database with its tables.
type world struct {
	*testing.T
	raw         *sql.DB
	driver, dsn string
	st          *store.Store
	small       bool // one writer at a time
}

// databases runs fn on each kind.
func databases(t *testing.T, fn func(w *world)) {
	for name, place := range map[string]func(t *testing.T) (driver, dsn string){
		"PostgreSQL": func(t *testing.T) (string, string) { return "pgx", servers.Postgres(t).Database(t) },
		"MariaDB":    func(t *testing.T) (string, string) { return "mysql", servers.MariaDB(t).Database(t) },
		"SQLite": func(t *testing.T) (string, string) {
			file := filepath.Join(t.TempDir(), "app.db")
			return "sqlite", "file:" + file + "?_txlock=immediate&_pragma=busy_timeout(60000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
		},
	} {
		t.Run(name, func(t *testing.T) {
			driver, dsn := place(t)
			db, err := sql.Open(driver, dsn)
			must(t, err)
			t.Cleanup(func() { _ = db.Close() })
			db.SetMaxOpenConns(20)
			w := &world{T: t, raw: db, driver: driver, dsn: dsn, small: driver == "sqlite"}
			w.st, err = openStore(driver, sqltx.StdDB(db))
			must(t, err)
			must(t, w.st.Migrate(t.Context()))
			fn(w)
		})
	}
}

// openStore makes the store of a database by its driver.
func openStore(driver string, db sqltx.Runner) (*store.Store, error) {
	switch driver {
	case "pgx":
		return store.Postgres(db, nil)
	case "mysql":
		return store.MySQL(db, nil)
	}
	return store.SQLite(db, nil)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bar is the saga on db, by message.
func (w *world) bar(db sqltx.DB[*sql.Tx]) (*saga.Saga[*sql.Tx, tab], map[string]sixfold.Handler) {
	w.Helper()
	st, err := openStore(w.driver, db)
	must(w.T, err)
	out, err := outbox.New(st.Outbox(), nil, outbox.ToConsumer("bar", late{}), outbox.To("bills", bill{}))
	must(w.T, err)
	logger := slog.New(slog.DiscardHandler)
	in, err := inbox.New(db, st.Inbox(), &inbox.Options{Logger: logger})
	must(w.T, err)
	box, err := saga.NewBox(in, out, st.Sagas(), &saga.Options{Logger: logger})
	must(w.T, err)
	g, err := saga.Define("tab", box,
		saga.StartedBy(func(m opened) string { return m.Table }, func(_ context.Context, _ *sql.Tx, s *tab, m opened, fx *saga.Effects) error {
			fx.After(time.Hour, late(m))
			fx.After(2*time.Hour, late(m))
			fx.Publish(bill(m))
			return nil
		}).Restarting(),
		saga.On(func(m drink) string { return m.Table }, func(_ context.Context, _ *sql.Tx, s *tab, m drink, fx *saga.Effects) error {
			s.Drinks++
			fx.Publish(bill(m))
			return nil
		}),
		saga.On(func(m closed) string { return m.Table }, func(_ context.Context, _ *sql.Tx, s *tab, m closed, fx *saga.Effects) error {
			fx.Publish(bill(m))
			fx.Complete()
			return nil
		}),
		saga.OnTimeout(func(_ context.Context, _ *sql.Tx, s *tab, m late, fx *saga.Effects) error {
			fx.Publish(bill(m))
			return nil
		}))
	must(w.T, err)
	handlers := map[string]sixfold.Handler{}
	for _, r := range g.Routes() {
		handlers[r.Name] = r.Handler()
	}
	return g, handlers
}

// envelope of m, and handle hands it to its step as a consumer would.
func (w *world) envelope(m sixfold.Message) *sixfold.Envelope {
	w.Helper()
	env, err := sixfold.NewEnvelope(w.Context(), "test", nil, m)
	must(w.T, err)
	return env
}

func handle(ctx context.Context, handlers map[string]sixfold.Handler, env *sixfold.Envelope) error {
	return handlers[env.Type](sixfold.WithInfo(ctx, &sixfold.Info{Envelope: env, Consumer: "bar", Attempt: 1}), env)
}

// traces is all that a step leaves behind, for comparison.
func (w *world) traces(key string) string {
	w.Helper()
	out := ""
	all, err := w.st.Sagas().Records().List(w.Context(), saga.Filter{Saga: "tab", Key: key, Full: true}, saga.Page{Limit: 100})
	must(w.T, err)
	for _, in := range all {
		es, err := w.st.Sagas().Records().History(w.Context(), in.ID, 0, 100)
		must(w.T, err)
		out += fmt.Sprintf("generation %d version %d %v %s timers %d journal %d; ", in.Generation, in.Version, in.Status, in.State, len(in.Timers), len(es))
	}
	own := outbox.Ownership{}
	for i := range own.Partitions {
		own.Partitions[i] = true
	}
	rows, err := w.st.Outbox().Queue(outbox.ToBroker).Read(w.Context(), 0, 1000, own)
	must(w.T, err)
	later, err := w.st.Schedule().Delayed().List(w.Context(), schedule.DelayedPage{Limit: 1000})
	must(w.T, err)
	return out + fmt.Sprintf("%d messages, %d wait", len(rows), len(later))
}
