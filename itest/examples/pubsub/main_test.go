package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/sixfoldtest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a broker that is away is warned of
	servers.Main(m)
}

func TestProgram(t *testing.T) { // guarantees: O1, I1
	var out strings.Builder
	if err := run(t.Context(), filepath.Join(t.TempDir(), "shop.db"), &out); err != nil {
		t.Fatal(err)
	}
	if want := "3 shipments, 6000 cents billed, screens show [o-1 o-2 o-3] and [o-1 o-2 o-3]\n"; out.String() != want {
		t.Errorf("it printed %q, want %q", &out, want)
	}
}

// The same program in a bubble, on SQLite with the bubble's clock, while the broker is away for five minutes.
func TestBrokerAway(t *testing.T) { // guarantees: O1, R7, I1, I3
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		db, st, err := openDatabase(ctx, filepath.Join(t.TempDir(), "shop.db"), time.Now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		rec := sixfoldtest.Record(st.Outbox())
		broker := sixfoldtest.NewBroker("orders")
		shop, err := newShop(ctx, db, rec, st.Inbox(), broker)
		if err != nil {
			t.Fatal(err)
		}
		app := &sixfoldtest.App{Outboxes: []*sixfoldtest.Recorder{rec}, Brokers: []*sixfoldtest.Broker{broker}, Runs: shop.runs}
		app.Start(t)

		time.Sleep(time.Second) // the bubble's: the screens have subscribed
		broker.Cut()
		for _, order := range []string{"o-1", "o-2", "o-3"} {
			if err := shop.place(ctx, order, 100); err != nil {
				t.Fatal(err)
			}
		}
		if err := shop.place(ctx, "o-2", 100); err == nil {
			t.Error("an order was placed twice")
		}
		time.Sleep(5 * time.Minute)
		if sent := sixfoldtest.Published[OrderPlaced](t, broker); len(sent) != 0 {
			t.Errorf("a broker that is away took %v", sent)
		}
		broker.Restore()
		if err := sixfoldtest.Quiet(ctx, app); err != nil {
			t.Fatal(err)
		}

		want := []OrderPlaced{{"o-1", 100}, {"o-2", 100}, {"o-3", 100}}
		if got := sixfoldtest.Published[OrderPlaced](t, rec); !slices.Equal(got, want) {
			t.Errorf("committed: %v", got)
		}
		for query, want := range map[string]int{"SELECT count(*) FROM shipments": 3, "SELECT sum(cents) FROM bills": 300, "SELECT count(DISTINCT order_id) FROM shipments": 3} {
			var n int
			if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil || n != want {
				t.Errorf("%s: %d, %v; want %d", query, n, err, want)
			}
		}
		if first, second := shop.screens(); len(first) != 3 || len(second) != 3 {
			t.Errorf("the screens show %v and %v", first, second)
		}
		if dead := sixfoldtest.Dead[OrderPlaced](t, broker); len(dead) != 0 {
			t.Errorf("an outage made dead letters: %v", dead)
		}
	})
}

// A second copy of a message that went over the broker twice takes effect once in each group.
func TestTwice(t *testing.T) { // guarantees: I1, I3
	db, st, err := openDatabase(t.Context(), filepath.Join(t.TempDir(), "shop.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	rec, broker := sixfoldtest.Record(st.Outbox()), sixfoldtest.NewBroker("orders")
	shop, err := newShop(t.Context(), db, rec, st.Inbox(), broker)
	if err != nil {
		t.Fatal(err)
	}
	if err := shop.place(t.Context(), "o-1", 100); err != nil {
		t.Fatal(err)
	}
	app := &sixfoldtest.App{Outboxes: []*sixfoldtest.Recorder{rec}, Brokers: []*sixfoldtest.Broker{broker}, Runs: shop.runs}
	app.Start(t)
	if err := sixfoldtest.Quiet(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	all, err := rec.All(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	publisher, err := bus.NewPublisher(broker, nil)
	if err != nil {
		t.Fatal(err)
	}
	again := *all[0].Envelope
	if err := errors.Join(publisher.PublishEnvelopes(t.Context(), "orders", []*sixfold.Envelope{&again}), publisher.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := sixfoldtest.Quiet(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	var shipments, cents int
	if err := db.QueryRow("SELECT (SELECT count(*) FROM shipments), (SELECT sum(cents) FROM bills)").Scan(&shipments, &cents); err != nil || shipments != 1 || cents != 100 {
		t.Errorf("%d shipments and %d cents billed, %v", shipments, cents, err)
	}
}
