package sqlqueue

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/sqlqueue"
)

// With listeners a send wakes the consumers of another process, whose next look is far away.
func TestListenerWakesOtherProcesses(t *testing.T) {
	t.Parallel()
	w := newPostgres(t)
	o := w.fast()
	o.Poll, o.Sweep, o.Lease = time.Hour, time.Hour, time.Hour
	ctx, stop := context.WithCancel(t.Context())
	var listening sync.WaitGroup
	t.Cleanup(func() { stop(); listening.Wait() })
	start := func() *sqlqueue.Transport {
		pool, err := pgxpool.New(t.Context(), w.dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		st, err := store.Postgres(sqltx.PgxDB(pool), nil)
		if err != nil {
			t.Fatal(err)
		}
		broker, err := sqlqueue.New(st.Broker(), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = broker.Close(context.Background()) })
		l, err := postgres.Listen(pool, st, &postgres.ListenOptions{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		listening.Go(func() { _ = l.Run(ctx) })
		w.until(t, "the listener hears", func() bool { return l.Err() == nil })
		return broker
	}
	here, there := start(), start()
	topic := w.topic()
	src := hand.Subscribe(t, there, group(topic))
	w.idle(t, src, 9*time.Second) // it has taken its leases, and looks rarely: 8 s after it began, and then after 16 s
	hand.MustSend(t, hand.Open(t, here), hand.Messages(topic, "k/1")...)
	began := time.Now()
	hand.Receive(t, src, 1)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
