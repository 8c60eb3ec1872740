package examples

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// pgxShop is a service on PostgreSQL with pgx, and a broker.
func pgxShop(ctx context.Context, pool *pgxpool.Pool, broker bus.Transport, shipped chan<- string) (place func(order string) error, service []sixfold.Runnable, err error) {
	db := postgres.DB(pool)
	st, err := store.Postgres(db, nil)
	if err != nil {
		return nil, nil, err
	}
	box, err := outbox.New(st.Outbox(), &outbox.Options{Source: "shop"}, outbox.To("orders", OrderPlaced{}))
	if err != nil {
		return nil, nil, err
	}
	place = func(order string) error {
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", order); err != nil {
				return err
			}
			_, err := box.Publish(ctx, sqltx.Pgx(tx), OrderPlaced{OrderID: order})
			return err
		})
	}

	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
	if err != nil {
		return nil, nil, err
	}
	in, err := inbox.New(db, st.Inbox(), nil)
	if err != nil {
		return nil, nil, err
	}
	shipping, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true},
		&bus.Options{Inbox: in},
		inbox.On(in, func(ctx context.Context, tx pgx.Tx, m OrderPlaced) error {
			_, err := tx.Exec(ctx, "INSERT INTO shipments (order_id) VALUES ($1)", m.OrderID)
			shipped <- m.OrderID
			return err
		}))
	return place, []sixfold.Runnable{relay, shipping}, err
}

func TestPgxShop(t *testing.T) { // guarantees: O1, I1
	pool, st := openPostgres(t)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	shipped := make(chan string, 10)
	place, service, err := pgxShop(ctx, pool, memory.New(&memory.Options{Topics: []string{"orders"}}), shipped)
	if err != nil {
		t.Fatal(err)
	}
	if err := place("o-1"); err != nil {
		t.Fatal(err)
	}
	if err := place("o-1"); err == nil {
		t.Error("an order was placed twice")
	}
	ran := make(chan error)
	go func() { ran <- sixfold.Run(ctx, service...) }()
	if got := <-shipped; got != "o-1" {
		t.Errorf("shipped %q", got)
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	var n int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM shipments").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d shipments, %v", n, err)
	}
}

// openPostgres is a new database with the shop's tables, and a store without its own.
func openPostgres(t *testing.T) (*pgxpool.Pool, *store.Store) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), servers.Postgres(t).Database(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	if _, err := pool.Exec(t.Context(), "CREATE TABLE orders (id text PRIMARY KEY); CREATE TABLE shipments (order_id text)"); err != nil {
		t.Fatal(err)
	}
	st, err := store.Postgres(postgres.DB(pool), nil)
	if err != nil {
		t.Fatal(err)
	}
	return pool, st
}

// In a unit of work the messages go with COMMIT; in a batch of the caller's own, wherever that puts them.
func TestPgxUnitAndBatch(t *testing.T) { // guarantees: O1, O6
	pool, st := openPostgres(t)
	ctx := t.Context()
	if err := st.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := inUnit(ctx, pool, box, "o-1"); err != nil {
		t.Error(err)
	}
	if err := inBatch(ctx, pool, box, "o-2"); err != nil {
		t.Error(err)
	}
	stats, err := st.Outbox().Keeper().Stats(ctx, outbox.ToBroker)
	if err != nil || stats.Pending != 2 {
		t.Errorf("%d rows, %v", stats.Pending, err)
	}
}

func inUnit(ctx context.Context, pool *pgxpool.Pool, box *outbox.Outbox, order string) error {
	return outbox.Do(ctx, box, postgres.DB(pool), func(ctx context.Context, tx pgx.Tx, u *outbox.Unit) error {
		if _, err := tx.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", order); err != nil {
			return err
		}
		u.Publish(OrderPlaced{OrderID: order})
		return nil
	})
}

func inBatch(ctx context.Context, pool *pgxpool.Pool, box *outbox.Outbox, order string) error {
	message, _, err := box.Prepare(ctx, OrderPlaced{OrderID: order})
	if err != nil {
		return err
	}
	var batch pgx.Batch
	batch.Queue("INSERT INTO orders (id) VALUES ($1)", order)
	batch.Queue(message.SQL, message.Args...)
	if err := pool.SendBatch(ctx, &batch).Close(); err != nil { // one implicit transaction
		return err
	}
	box.Committed()
	return nil
}
