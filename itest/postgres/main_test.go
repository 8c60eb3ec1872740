// Package postgres tests the module postgres on real databases, beside what package itest/sqltx tests of its DB.
package postgres

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) { servers.Main(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

type message struct{ Key, Text string }

func (message) MessageName() string  { return "test.message" }
func (m message) MessageKey() string { return m.Key }

// aside goes to a local consumer.
type aside struct{ Key string }

func (aside) MessageName() string  { return "test.aside" }
func (m aside) MessageKey() string { return m.Key }

// A process stands for one: it has a pool, a store and an outbox of its own on tables that it shares, and the grants of the
// role that it connects as. What it looks at behind the curtain is the superuser's.
type process struct {
	*testing.T
	as    *roles.Logins
	super *pgxpool.Pool
	pool  *pgxpool.Pool
	st    *store.Store
	box   *outbox.Outbox
}

// database is a new one with the tables of a store.
func database(t testing.TB, opts *store.Options) *roles.Logins {
	t.Helper()
	return roles.On(t, servers.Postgres(t).Database(t), opts)
}

// start makes a process that connects with one of the URLs of a database.
func start(t *testing.T, as *roles.Logins, login string, opts *store.Options, change ...func(*pgxpool.Config)) *process {
	t.Helper()
	p := &process{T: t, as: as, super: open(t, as.Superuser), pool: open(t, login, change...)}
	var err error
	if p.st, err = store.Postgres(postgres.DB(p.pool), opts); err != nil {
		t.Fatal(err)
	}
	if p.box, err = outbox.New(p.st.Outbox(), nil, outbox.To("messages", message{}), outbox.ToConsumer("helper", aside{})); err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t testing.TB, dsn string, change ...func(*pgxpool.Config)) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(config)
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close) // which waits until every connection was given back
	return pool
}

// run starts something that runs until the end of the test, or until stop is called.
func (p *process) run(what interface{ Run(context.Context) error }) (stop func()) {
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- what.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		end()
		if err := <-done; err != nil {
			p.Errorf("%v: %v", what, err)
		}
	}
	p.Cleanup(stop)
	return stop
}

// listen starts a listener and waits until it hears. A pool of its own lets a test cut it alone.
func (p *process) listen(pool *pgxpool.Pool, o postgres.ListenOptions) *postgres.Listener {
	p.Helper()
	o.Logger = quiet()
	l, err := postgres.Listen(pool, p.st, &o)
	if err != nil {
		p.Fatal(err)
	}
	p.run(l)
	p.until("the listener hears", func() bool { return l.Err() == nil })
	return l
}

// do commits one message in a unit of work.
func (p *process) do(m message) {
	p.Helper()
	err := outbox.Do(p.Context(), p.box, postgres.DB(p.pool), func(_ context.Context, _ pgx.Tx, u *outbox.Unit) error {
		u.Publish(m)
		return nil
	})
	if err != nil {
		p.Fatal(err)
	}
}

// until waits for a condition that nothing signals.
func (p *process) until(what string, cond func() bool) {
	p.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !cond(); <-tick.C {
		if time.Now().After(end) {
			p.Fatalf("waited for a minute: %s", what)
		}
	}
}

// count answers a number that a query of the superuser finds.
func (p *process) count(q string, args ...any) (n int) {
	p.Helper()
	if err := p.super.QueryRow(p.Context(), q, args...).Scan(&n); err != nil {
		p.Fatal(err)
	}
	return n
}
