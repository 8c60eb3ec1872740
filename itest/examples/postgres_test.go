package examples

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// relayAndListen runs a relay that is woken by what other processes publish.
func relayAndListen(ctx context.Context, pool *pgxpool.Pool, st *store.Store, broker bus.Transport) error {
	listener, err := postgres.Listen(pool, st, nil)
	if err != nil {
		return err
	}
	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
	if err != nil {
		return err
	}
	return sixfold.Run(ctx, listener, relay)
}

// importOrders writes orders, and a message for each, in bulk and in one transaction.
func importOrders(ctx context.Context, pool *pgxpool.Pool, box *outbox.Outbox, orders []string) error {
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		rows := pgx.CopyFromSlice(len(orders), func(i int) ([]any, error) { return []any{orders[i]}, nil })
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{"orders"}, []string{"id"}, rows); err != nil {
			return err
		}
		_, err := postgres.PublishAll(ctx, box, tx, func(yield func(outbox.Item) bool) {
			for _, order := range orders {
				if !yield(outbox.Of(OrderPlaced{OrderID: order})) {
					return
				}
			}
		})
		return err
	})
	if err == nil {
		box.Committed()
	}
	return err
}

func TestPostgresListenAndCopy(t *testing.T) { // guarantees: O1, R1
	pool, st := openPostgres(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	if err := st.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.To("orders", OrderPlaced{}))
	if err != nil {
		t.Fatal(err)
	}
	var orders []string
	for i := range 1000 {
		orders = append(orders, strconv.Itoa(i))
	}
	broker := memory.New(&memory.Options{Topics: []string{"orders"}})
	came := make(chan struct{}, len(orders))
	broker.Tap(func(string, *sixfold.Envelope) { came <- struct{}{} })
	ran := make(chan error)
	go func() { ran <- relayAndListen(ctx, pool, st, broker) }()
	if err := importOrders(ctx, pool, box, orders); err != nil {
		t.Error(err)
	}
	for range orders {
		select {
		case <-came:
		case <-ctx.Done():
			t.Fatal("not everything came")
		}
	}
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
}
