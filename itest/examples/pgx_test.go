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
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// placeWithPgx writes the order and its message in a transaction of the caller's own.
func placeWithPgx(ctx context.Context, pool *pgxpool.Pool, box *outbox.Outbox, order string) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", order); err != nil {
			return err
		}
		_, err := box.Publish(ctx, sqltx.Pgx(tx), OrderPlaced{OrderID: order})
		return err
	})
}

// shippingWithPgx runs the relay of a service and a consumer whose handler has a pgx.Tx.
func shippingWithPgx(ctx context.Context, pool *pgxpool.Pool, st *store.Store, broker bus.Transport) error {
	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
	if err != nil {
		return err
	}
	in, err := inbox.New(postgres.DB(pool), st.Inbox(), nil)
	if err != nil {
		return err
	}
	shipping, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true},
		nil,
		inbox.On(in, func(ctx context.Context, tx pgx.Tx, m OrderPlaced) error {
			_, err := tx.Exec(ctx, "INSERT INTO shipments (order_id) VALUES ($1)", m.OrderID)
			return err
		}))
	if err != nil {
		return err
	}
	return sixfold.Run(ctx, relay, shipping) // stops the last one first
}

func TestPgxShop(t *testing.T) { // guarantees: O1, I1
	pool, st := openPostgres(t)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := placeWithPgx(ctx, pool, box, "o-1"); err != nil {
		t.Fatal(err)
	}
	if err := placeWithPgx(ctx, pool, box, "o-1"); err == nil {
		t.Error("an order was placed twice")
	}
	// The shipment is seen through the database, by a listener on a trigger.
	if _, err := pool.Exec(ctx, `CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('shipped', NEW.order_id); RETURN NULL; END $$;
CREATE TRIGGER tell AFTER INSERT ON shipments FOR EACH ROW EXECUTE FUNCTION tell()`); err != nil {
		t.Fatal(err)
	}
	listener, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Release()
	if _, err := listener.Exec(ctx, "LISTEN shipped"); err != nil {
		t.Fatal(err)
	}
	ran := make(chan error)
	go func() {
		ran <- shippingWithPgx(ctx, pool, st, memory.New(&memory.Options{Topics: []string{"orders"}}))
	}()
	if n, err := listener.Conn().WaitForNotification(ctx); err != nil || n.Payload != "o-1" {
		t.Errorf("shipped %v, %v", n, err)
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
	pool, err := pgxpool.New(t.Context(), roles.Service(t, servers.Postgres(t).Database(t)))
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
