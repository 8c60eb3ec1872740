// Package parking tests what becomes of messages that a handler could not handle, on every database and over all
// transports.
package parking

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

func TestMain(m *testing.M) { servers.Main(m) }

// step is a message: number N of its key.
type step struct {
	Key string
	N   int
}

func (step) MessageName() string  { return "test.step" }
func (s step) MessageKey() string { return s.Key }

// world is a database with its tables and the table of effects, which has no constraint.
type world struct {
	testing.TB
	kind string
	pool *sql.DB
	db   sqltx.DB[*sql.Tx]
	st   *store.Store
}

// databases are the kinds that a test runs on.
var databases = []string{"postgres", "sqlite", "mariadb"}

// onBoth runs a test on each database.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	for _, kind := range databases {
		t.Run(kind, func(t *testing.T) { test(t, newWorld(t, kind)) })
	}
}

func newWorld(t testing.TB, kind string) *world {
	t.Helper()
	w := &world{TB: t, kind: kind}
	const effects = "CREATE TABLE effect (i %s, consumer text, k text, n integer)"
	var err error
	if kind == "postgres" {
		opts := &store.Options{Prefix: "sixfold_"}
		as := roles.On(t, servers.Postgres(t).Database(t), opts)
		super := w.open("pgx", as.Superuser)
		if _, err := super.ExecContext(t.Context(), fmt.Sprintf(effects, "bigint GENERATED ALWAYS AS IDENTITY")); err != nil {
			t.Fatal(err)
		}
		w.pool = w.open("pgx", as.Application)
		w.db = sqltx.StdDB(w.pool)
		w.st, err = store.Postgres(w.db, opts)
	} else if kind == "mariadb" {
		w.pool = w.open("mysql", servers.MariaDB(t).Database(t)+"?tx_isolation=%27READ-COMMITTED%27&interpolateParams=true&sql_mode=%27STRICT_TRANS_TABLES%2CANSI_QUOTES%27")
		w.exec(fmt.Sprintf(effects, "bigint AUTO_INCREMENT PRIMARY KEY"))
		w.db = sqltx.StdDB(w.pool)
		if w.st, err = store.MySQL(w.db, nil); err == nil {
			err = w.st.Migrate(t.Context())
		}
	} else {
		w.pool = w.open("sqlite", "file:"+filepath.Join(t.TempDir(), "db")+"?_pragma=busy_timeout(20000)&_pragma=journal_mode(wal)&_txlock=immediate")
		w.exec(fmt.Sprintf(effects, "INTEGER PRIMARY KEY AUTOINCREMENT"))
		w.db = sqltx.StdDB(w.pool)
		if w.st, err = store.SQLite(w.db, nil); err == nil {
			err = w.st.Migrate(t.Context())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// open is a pool, which the test's end closes.
func (w *world) open(driver, dsn string) *sql.DB {
	w.Helper()
	pool, err := sql.Open(driver, dsn)
	if err != nil {
		w.Fatal(err)
	}
	pool.SetMaxOpenConns(20)
	w.Cleanup(func() { _ = pool.Close() })
	return pool
}

func (w *world) box() *inbox.Box[*sql.Tx] {
	w.Helper()
	b, err := inbox.New(w.db, w.st.Inbox(), &inbox.Options{Logger: quiet()})
	if err != nil {
		w.Fatal(err)
	}
	return b
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func (w *world) exec(q string, args ...any) {
	w.Helper()
	if _, err := w.pool.ExecContext(w.Context(), q, args...); err != nil {
		w.Fatal(err)
	}
}

// table is the name of one of Sixfold's tables.
func (w *world) table(name string) string {
	if w.kind != "postgres" {
		return "sixfold_" + name
	}
	return "sixfold.sixfold_" + name
}

// form writes parameters, which come once and in order, in the database's way.
func (w *world) form(q string) string {
	if w.kind == "mariadb" {
		return regexp.MustCompile(`\$\d`).ReplaceAllString(q, "?")
	}
	return q
}

func (w *world) count(q string, args ...any) (n int) {
	w.Helper()
	if err := w.pool.QueryRowContext(w.Context(), w.form(q), args...).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

// poll waits for a condition on the database.
func (w *world) poll(what string, cond func() bool) {
	w.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(2 * time.Minute); !cond(); <-tick.C {
		if time.Now().After(end) {
			w.Fatalf("waited for two minutes: %s", what)
		}
	}
}

// effects are those of a consumer by key, in the order of their commits where one key is never written at once.
func (w *world) effects(consumer string) map[string][]int {
	w.Helper()
	rows, err := w.pool.QueryContext(w.Context(), w.form("SELECT k, n FROM effect WHERE consumer = $1 ORDER BY i"), consumer)
	if err != nil {
		w.Fatal(err)
	}
	defer rows.Close()
	out := map[string][]int{}
	for rows.Next() {
		var key string
		var n int
		if err := rows.Scan(&key, &n); err != nil {
			w.Fatal(err)
		}
		out[key] = append(out[key], n)
	}
	if err := rows.Err(); err != nil {
		w.Fatal(err)
	}
	return out
}

func effect(ctx context.Context, tx *sql.Tx, m step) error {
	// Written out, since the databases do not agree on how parameters are written.
	_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO effect (consumer, k, n) VALUES ('%s', '%s', %d)", sixfold.InfoFrom(ctx).Consumer, m.Key, m.N))
	return err
}

// wantOnceInOrder asks for the numbers 1 to n of each key, once and in order.
func (w *world) wantOnceInOrder(consumer string, keys, n int) {
	w.Helper()
	got := w.effects(consumer)
	for k := range keys {
		key := fmt.Sprint("key", k)
		if len(got[key]) != n {
			w.Errorf("%s of %s: %v", key, consumer, got[key])
			continue
		}
		for i, v := range got[key] {
			if v != i+1 {
				w.Errorf("%s of %s: %v", key, consumer, got[key])
				break
			}
		}
	}
}

// started is a consumer at work.
type started struct {
	*bus.Consumer
	stop func()
}

// consume starts a consumer; the test's end stops it.
func (w *world) consume(t bus.Subscriber, s bus.Subscription, o bus.Options, routes ...sixfold.Route) started {
	w.Helper()
	if o.Logger == nil {
		o.Logger = quiet()
	}
	if o.ParkingPoll == 0 {
		o.ParkingPoll = 50 * time.Millisecond
	}
	c, err := bus.NewConsumer(t, s, &o, routes...)
	if err != nil {
		w.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		end()
		if err := <-done; err != nil {
			w.Errorf("consumer %s: %v", s.Group, err)
		}
	})
	w.Cleanup(stop)
	return started{c, stop}
}

// a road brings messages to a consumer.
type road struct {
	to      bus.Subscriber
	sub     bus.Subscription
	publish func(ms ...step)
}

// roads are all ways to a consumer called group that keep the order of a key.
var roads = []struct {
	name string
	open func(w *world, group string) road
}{
	{"local", openLocal},
	{"memory", func(w *world, group string) road {
		return w.overBroker(memory.New(&memory.Options{Topics: []string{"steps", "steps.dead"}}), group)
	}},
	{"nats", func(w *world, group string) road {
		s, err := servers.StartNATS(w.Context(), nil)
		if err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = s.Close() })
		tr, err := nats.New(s.URL(), &nats.Options{Topics: []string{"steps"}, Lanes: 8, Logger: quiet()})
		if err != nil {
			w.Fatal(err)
		}
		return w.overBroker(tr, group)
	}},
	{"rabbitmq", func(w *world, group string) road {
		sub := bus.Subscription{Topics: []string{"steps"}, Group: group, Ordered: true}
		tr, err := rabbitmq.New(servers.RabbitMQ(w).URL(), &rabbitmq.Options{Groups: []bus.Subscription{sub}, Logger: quiet()})
		if err != nil {
			w.Fatal(err)
		}
		return w.overBroker(tr, group)
	}},
}

func openLocal(w *world, group string) road {
	w.Helper()
	l, err := outbox.NewLocal(w.st.Outbox(), w.db, &outbox.LocalOptions{Lease: 4 * time.Second, Poll: 50 * time.Millisecond, Logger: quiet()})
	if err != nil {
		w.Fatal(err)
	}
	out, err := outbox.New(w.st.Outbox(), nil, outbox.ToConsumer(group, step{}))
	if err != nil {
		w.Fatal(err)
	}
	return road{to: l, sub: bus.Subscription{Group: group, Ordered: true}, publish: func(ms ...step) {
		w.Helper()
		all := make([]outbox.Item, len(ms))
		for i, m := range ms {
			all[i] = outbox.Of(m)
		}
		if err := w.db.InTx(w.Context(), func(tx sqltx.Tx) error {
			_, err := out.PublishAll(w.Context(), tx, all...)
			return err
		}); err != nil {
			w.Fatal(err)
		}
	}}
}

func (w *world) overBroker(tr bus.Transport, group string) road {
	w.Helper()
	w.Cleanup(func() { _ = tr.Close(context.Background()) })
	p, err := bus.NewPublisher(tr, nil)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = p.Close(context.Background()) })
	return road{to: tr, sub: bus.Subscription{Topics: []string{"steps"}, Group: group, Ordered: true}, publish: func(ms ...step) {
		w.Helper()
		for _, m := range ms {
			if _, err := p.Publish(w.Context(), "steps", m); err != nil {
				w.Fatal(err)
			}
		}
	}}
}

var errNotYet = errors.New("not yet")
