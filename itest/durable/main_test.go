// Package durable tests package request/durable on real databases and brokers.
package durable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
	"github.com/sixfold-go/sixfold/transport/nats"
)

func TestMain(m *testing.M) { servers.Main(m) }

const patience = time.Minute

// reserve asks the warehouse to put something aside.
type reserve struct {
	sixfold.Returns[reserved] `json:"-"`
	Item                      string
}

func (reserve) MessageName() string { return "warehouse.reserve" }

// reserved is a place on the shelf, or that there is none.
type reserved = request.Result[int, string]

type outcome = durable.Outcome[reserve, reserved]

// world is a database and a broker, over which a shop asks a warehouse.
type world struct {
	*testing.T
	sql       *sql.DB
	db        sqltx.DB[*sql.Tx]
	st        *store.Store
	broker    bus.Transport
	ob        *outbox.Outbox
	box       *inbox.Box[*sql.Tx]
	scheduler *schedule.Scheduler
	service   *durable.Service[*sql.Tx]
	told      chan outcome
	keys      sync.Map                                                           // of what told of a request, by its id
	answer    func(ctx context.Context, tx *sql.Tx, m reserve) (reserved, error) // what the warehouse does
}

// worlds runs a test on each database and broker.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	for _, database := range []string{"sqlite", "postgres"} {
		for _, broker := range []string{"memory", "nats"} {
			if testing.Short() && (database == "sqlite") != (broker == "memory") {
				continue
			}
			t.Run(database+"/"+broker, func(t *testing.T) { test(t, newWorld(t, database, broker)) })
		}
	}
}

func newWorld(t *testing.T, database, broker string) *world {
	t.Helper()
	w := &world{T: t, told: make(chan outcome, 100)}
	driver, dsn := "sqlite", "file:"+filepath.Join(t.TempDir(), "shop.db")+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
	if database == "postgres" {
		driver, dsn = "pgx", servers.Postgres(t).Database(t)
	}
	var err error
	if w.sql, err = sql.Open(driver, dsn); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.sql.Close() })
	w.db = sqltx.StdDB(w.sql)
	if database == "postgres" {
		w.st, err = store.Postgres(w.db, nil)
	} else {
		w.st, err = store.SQLite(w.db, nil)
	}
	if err == nil {
		err = w.st.Migrate(t.Context())
	}
	if err == nil {
		_, err = w.sql.Exec("CREATE TABLE effect (item text NOT NULL)")
	}
	if err != nil {
		t.Fatal(err)
	}
	if broker == "memory" {
		w.broker = memory.New(&memory.Options{Topics: []string{"warehouse", "shop.replies", "order.replies"}})
	} else {
		server := servers.NATS(t, nil)
		w.broker, err = nats.New(server.URL(), &nats.Options{Topics: []string{"warehouse", "shop.replies", "order.replies"}, Lanes: 4})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = w.broker.Close(context.Background()) })
	w.build()
	return w
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (w *world) build() {
	w.Helper()
	var errs [4]error
	w.ob, errs[0] = outbox.New(w.st.Outbox(), &outbox.Options{Source: "shop"}, outbox.To("warehouse", reserve{}))
	w.box, errs[1] = inbox.New(w.db, w.st.Inbox(), &inbox.Options{Logger: quiet()})
	w.scheduler, errs[2] = schedule.New(w.st.Schedule(), w.ob, &schedule.Options{Poll: 20 * time.Millisecond})
	w.service, errs[3] = durable.New(w.ob, w.box, &durable.Options{ReplyTo: "shop.replies", Scheduler: w.scheduler, Logger: quiet()})
	if err := errors.Join(errs[:]...); err != nil {
		w.Fatal(err)
	}
	w.answer = func(ctx context.Context, tx *sql.Tx, m reserve) (res reserved, err error) { return res.Accept(7), nil }
}

// run runs something until stop is called or the test ends.
func (w *world) run(rs ...sixfold.Runnable) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := sixfold.Run(ctx, rs...); err != nil {
			w.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	w.Cleanup(stop)
	return stop
}

// relay sends what the outbox has, and promotes what is due.
func (w *world) relay() {
	w.Helper()
	relay, err := outbox.NewRelay(w.st.Outbox(), w.broker, &outbox.RelayOptions{Poll: 20 * time.Millisecond, Logger: quiet()})
	if err != nil {
		w.Fatal(err)
	}
	w.run(relay, w.scheduler)
}

func (w *world) consumer(topic, group string, routes ...sixfold.Route) *bus.Consumer {
	w.Helper()
	c, err := bus.NewConsumer(w.broker, bus.Subscription{Topics: []string{topic}, Group: group}, &bus.Options{Logger: quiet()}, routes...)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// warehouse answers, and notes its effect first.
func (w *world) warehouse() *bus.Consumer {
	w.Helper()
	return w.consumer("warehouse", "warehouse", durable.Answer(w.service, func(ctx context.Context, tx *sql.Tx, m reserve) (reserved, error) {
		if _, err := tx.ExecContext(ctx, "INSERT INTO effect (item) VALUES ('"+m.Item+"')"); err != nil {
			return reserved{}, err
		}
		return w.answer(ctx, tx, m)
	}))
}

// shop is told of outcomes.
func (w *world) shop() *bus.Consumer {
	w.Helper()
	return w.consumer("shop.replies", "shop", durable.On(w.service, func(ctx context.Context, _ *sql.Tx, o outcome) error {
		w.keys.Store(o.Request, sixfold.InfoFrom(ctx).Envelope.Key)
		w.told <- o
		return nil
	}))
}

func (w *world) ask(item string, within time.Duration) (id string) {
	w.Helper()
	err := w.db.Run(w.Context(), func(tx *sql.Tx) (err error) {
		id, err = w.service.Ask(w.Context(), sqltx.Std(tx), reserve{Item: item}, within, outbox.Key(item))
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	w.ob.Committed()
	return id
}

// next is the outcome that comes next; it is that of id.
func (w *world) next(id string) outcome {
	w.Helper()
	select {
	case o := <-w.told:
		if o.Request != id {
			w.Fatalf("this is told of %s, not of %s", o.Request, id)
		}
		return o
	case <-time.After(patience):
		w.Fatal("no outcome came")
		return outcome{}
	}
}

func (w *world) count(query string) (n int) {
	w.Helper()
	if err := w.sql.QueryRowContext(w.Context(), query).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

// until waits for something that nothing tells of.
func (w *world) until(what string, is func() bool) {
	w.Helper()
	tick, limit := time.NewTicker(5*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer limit.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-limit.C:
			w.Fatal("in vain waited for: " + what)
		}
	}
}

func (w *world) waiting() int {
	all, err := w.scheduler.Waiting(w.Context(), schedule.DelayedPage{})
	if err != nil {
		w.Fatal(err)
	}
	return len(all)
}

var errNo = fmt.Errorf("the shelf is gone")
