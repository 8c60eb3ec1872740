// Package inbox tests package inbox, and local destinations with it, on a real database.
package inbox

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

func TestMain(m *testing.M) { servers.Main(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// order goes to a local consumer, or is sent to the broker as it is.
type order struct {
	Key  string
	Text string
}

func (order) MessageName() string  { return "test.order" }
func (m order) MessageKey() string { return m.Key }

// note is what handlers publish.
type note struct{ Text string }

func (note) MessageName() string { return "test.note" }

// world is a database with its tables, the table of effects, which has no constraint, an inbox and a broker. Consumers and
// publishers have the grants of an application; the superuser only looks behind the curtain.
type world struct {
	*testing.T
	super  *pgxpool.Pool
	pool   *pgxpool.Pool
	db     sqltx.DB[pgx.Tx]
	st     *store.Store
	out    *outbox.Outbox
	box    *inbox.Box[pgx.Tx]
	broker *memory.Transport
	lease  time.Duration // of local consumers; it outlasts what a busy machine does to them
}

func newWorld(t *testing.T) *world {
	t.Helper()
	as := roles.On(t, servers.Postgres(t).Database(t), nil)
	w := &world{T: t, lease: 20 * time.Second, super: connect(t, as.Superuser), pool: connect(t, as.Application)}
	w.db = sqltx.PgxDB(w.pool)
	var err error
	if w.st, err = store.Postgres(w.db, nil); err != nil {
		t.Fatal(err)
	}
	if w.out, err = outbox.New(w.st.Outbox(), nil, outbox.ToConsumer("local", order{}), outbox.To("notes", note{})); err != nil {
		t.Fatal(err)
	}
	if w.box, err = inbox.New(w.db, w.st.Inbox(), &inbox.Options{Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
	w.broker = memory.New(&memory.Options{Topics: []string{"orders", "orders.dead", "notes"}})
	t.Cleanup(func() { _ = w.broker.Close(context.Background()) })
	w.exec("CREATE TABLE effect (consumer text, text text, at timestamptz NOT NULL DEFAULT clock_timestamp(), n bigint GENERATED ALWAYS AS IDENTITY)")
	return w
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

func (w *world) exec(q string, args ...any) {
	w.Helper()
	if _, err := w.super.Exec(w.Context(), q, args...); err != nil {
		w.Fatal(err)
	}
}

func (w *world) count(q string, args ...any) (n int) {
	w.Helper()
	if err := w.super.QueryRow(w.Context(), q, args...).Scan(&n); err != nil {
		w.Fatal(err)
	}
	return n
}

// effects are those of a consumer, in the order of their writing.
func (w *world) effects(consumer string) (out []string) {
	w.Helper()
	rows, err := w.super.Query(w.Context(), "SELECT text FROM effect WHERE consumer = $1 ORDER BY n", consumer)
	if err != nil {
		w.Fatal(err)
	}
	out, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.Fatal(err)
	}
	return out
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

// effect is a handler's.
func effect(ctx context.Context, tx pgx.Tx, text string) error {
	_, err := tx.Exec(ctx, "INSERT INTO effect (consumer, text) VALUES ($1, $2)", sixfold.InfoFrom(ctx).Consumer, text)
	return err
}

func handle(ctx context.Context, tx pgx.Tx, m order) error { return effect(ctx, tx, m.Text) }

// consumer starts one of the broker's topic "orders", or of the local destination "local"; stop ends it.
func (w *world) consumer(group string, o bus.Options, routes ...sixfold.Route) (stop func()) {
	w.Helper()
	var t bus.Transport = w.broker
	s := bus.Subscription{Group: group, Ordered: true, Topics: []string{"orders"}}
	if group == "local" {
		s.Topics = nil
		var err error
		if t, err = outbox.NewLocal(w.st.Outbox(), w.db, &outbox.LocalOptions{Lease: w.lease, Poll: 50 * time.Millisecond, Logger: quiet()}); err != nil {
			w.Fatal(err)
		}
	}
	o.Inbox, o.Logger = w.box, quiet()
	if o.Retry.Backoff == nil {
		o.Retry.Backoff = func(int) time.Duration { return time.Millisecond }
	}
	running := make(chan struct{}, 1)
	o.Hooks.State = func(state bus.State) {
		if state == bus.Running {
			running <- struct{}{}
		}
	}
	c, err := bus.NewConsumer(t, s, &o, routes...)
	if err != nil {
		w.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-running // it has subscribed, so that it gets what is sent from now on
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		end()
		if err := <-done; err != nil {
			w.Errorf("consumer %s: %v", group, err)
		}
	}
	w.Cleanup(stop)
	return stop
}

// envelope of an order as a producer elsewhere would make it.
func envelope(id, key, text string) *sixfold.Envelope {
	return &sixfold.Envelope{ID: id, Source: "elsewhere", Type: "test.order", Key: key, Time: time.Now(), Body: []byte(`{"Text":"` + text + `"}`)}
}

// send brings envelopes to the broker's topic "orders".
func (w *world) send(envs ...*sixfold.Envelope) {
	w.Helper()
	s, err := w.broker.Open(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	defer func() { _ = s.Close(context.Background()) }()
	var batch []bus.Outgoing
	for _, env := range envs {
		batch = append(batch, bus.Outgoing{Topic: "orders", Envelope: env})
	}
	for _, err := range s.Send(w.Context(), batch).Wait(w.Context()) {
		if err != nil {
			w.Fatal(err)
		}
	}
}

// publish commits orders for the local consumer.
func (w *world) publish(ms ...order) {
	w.Helper()
	err := outbox.Do(w.Context(), w.out, w.db, func(_ context.Context, _ pgx.Tx, u *outbox.Unit) error {
		for _, m := range ms {
			u.Publish(m)
		}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
}

// settled waits until the broker's topic and the local table are empty.
func (w *world) settled() {
	w.Helper()
	w.poll("everything is settled", func() bool {
		return w.broker.Pending("orders") == 0 && w.count("SELECT count(*) FROM sixfold.local WHERE class = 'local'") == 0 &&
			w.count("SELECT count(*) FROM sixfold.line WHERE due < 'infinity'") == 0
	})
}
