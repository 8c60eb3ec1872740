// Package outbox tests package outbox on real databases.
package outbox

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

func TestMain(m *testing.M) { servers.Main(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// message is what the tests publish.
type message struct {
	Key  string
	Text string
}

func (message) MessageName() string  { return "test.message" }
func (m message) MessageKey() string { return m.Key }

// aside goes to a local consumer.
type aside struct{ Key, Text string }

func (aside) MessageName() string  { return "test.aside" }
func (m aside) MessageKey() string { return m.Key }

// world is a database with its tables, an outbox, and a broker that notes what it takes. Who publishes, who relays and who
// looks at statistics has the grants of that role; only what the tests do themselves is done by the superuser.
type world struct {
	*testing.T
	as     *roles.Logins
	super  *pgxpool.Pool
	pool   *pgxpool.Pool // the application's
	db     sqltx.DB[pgx.Tx]
	opts   *store.Options
	box    *outbox.Outbox
	relays *store.Store
	broker *memory.Transport

	mu    sync.Mutex
	taken []sixfold.Envelope
	came  chan struct{} // one token: something was taken
}

func newWorld(t *testing.T, opts *store.Options) *world {
	t.Helper()
	return newWorldOn(t, servers.Postgres(t), opts)
}

func newWorldOn(t *testing.T, server *servers.PostgresServer, opts *store.Options) *world {
	t.Helper()
	w := &world{T: t, as: roles.On(t, server.Database(t), opts), opts: opts, came: make(chan struct{}, 1)}
	w.super, w.pool = connect(t, w.as.Superuser), connect(t, w.as.Application)
	w.db = sqltx.PgxDB(w.pool)
	w.relays = w.store(connect(t, w.as.Relay))
	var err error
	if w.box, err = outbox.New(w.store(w.pool).Outbox(), nil, outbox.To("messages", message{}), outbox.ToConsumer("helper", aside{})); err != nil {
		t.Fatal(err)
	}
	w.broker = memory.New(&memory.Options{Topics: []string{"messages"}})
	t.Cleanup(func() { _ = w.broker.Close(context.Background()) })
	w.broker.Tap(func(_ string, env *sixfold.Envelope) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taken = append(w.taken, *env)
		select {
		case w.came <- struct{}{}:
		default:
		}
	})
	return w
}

// store is that of somebody's connections.
func (w *world) store(p *pgxpool.Pool) *store.Store {
	w.Helper()
	st, err := store.Postgres(sqltx.PgxDB(p), w.opts)
	if err != nil {
		w.Fatal(err)
	}
	return st
}

func connect(t *testing.T, dsn string) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	config.MaxConns = 40
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// all are the envelopes that the broker took, in order.
func (w *world) all() []sixfold.Envelope {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.taken)
}

// until waits for a condition on what the broker took.
func (w *world) until(what string, cond func(taken []sixfold.Envelope) bool) {
	w.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !cond(w.all()) {
		select {
		case <-w.came:
		case <-limit.C:
			w.Fatalf("waited for a minute: %s; the broker took %d", what, len(w.all()))
		}
	}
}

func (w *world) untilCount(n int) {
	w.Helper()
	w.until("messages", func(taken []sixfold.Envelope) bool { return len(taken) >= n })
}

// relay starts one; stop ends it and expects that nothing is in doubt. Its lease outlasts what a busy machine does to it, since what
// arrives is expected once.
func (w *world) relay(o outbox.RelayOptions) (stop func()) {
	w.Helper()
	o.Logger = quiet()
	if o.Lease == 0 {
		o.Lease = 20 * time.Second
	}
	if o.Poll == 0 {
		o.Poll = 50 * time.Millisecond
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = time.Minute
	}
	relay, err := outbox.NewRelay(w.relays.Outbox(), w.broker, &o)
	if err != nil {
		w.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- relay.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			end()
			if err := <-done; err != nil {
				w.Errorf("the relay: %v", err)
			}
		})
	}
	w.Cleanup(stop)
	return stop
}

// publish commits one message.
func (w *world) publish(m sixfold.Message, opts ...outbox.Option) {
	w.Helper()
	err := w.in(func(tx pgx.Tx) error {
		_, err := w.box.Publish(w.Context(), sqltx.Pgx(tx), m, opts...)
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) in(f func(tx pgx.Tx) error) error { return pgx.BeginFunc(w.Context(), w.pool, f) }

// count answers a number that a query finds behind the curtain.
func (w *world) count(q string, args ...any) (n int) {
	w.Helper()
	if err := w.super.QueryRow(w.Context(), q, args...).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

func (w *world) exec(q string, args ...any) {
	w.Helper()
	if _, err := w.super.Exec(w.Context(), q, args...); err != nil {
		w.Fatal(err)
	}
}

// poll waits for a condition on the database.
func (w *world) poll(what string, cond func() bool) {
	w.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); !cond(); <-tick.C {
		if time.Now().After(end) {
			w.Fatalf("waited for a minute: %s", what)
		}
	}
}

const rowsLeft = "SELECT count(*) FROM sixfold.outbox"

var storeOptions = store.Options{KeepDelivered: time.Hour}
