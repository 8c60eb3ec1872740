// Program fulfilment takes three orders through stock, bank and carrier. Ada's arrives; Ben cannot pay, so that what was reserved
// for him is released; Cleo lives where no carrier goes, and cannot be paid back by the bank, so that a person has to.
// An SQLite file is all it needs.
//
//	go run ./examples/fulfilment
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

const tables = `
CREATE TABLE articles (name TEXT PRIMARY KEY, free INTEGER NOT NULL);
CREATE TABLE accounts (customer TEXT PRIMARY KEY, cents INTEGER NOT NULL, held TEXT, taken INTEGER);
CREATE TABLE stock (order_id TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE bank (order_id TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE carrier (order_id TEXT PRIMARY KEY, state TEXT NOT NULL);
INSERT INTO articles VALUES ('lamp', 5);
INSERT INTO accounts (customer, cents) VALUES ('Ada', 5000), ('Ben', 10), ('Cleo', 9000);`

// routes say where everything goes: here, to consumers of one database.
func routes() []outbox.Route {
	return []outbox.Route{
		outbox.ToConsumer("orders", OrderPlaced{}, StockReserved{}, StockMissing{}, StockReleased{}, PaymentTaken{}, PaymentRefused{},
			Refunded{}, RefundImpossible{}, Shipped{}, ShippingRefused{}, flow.Timer("fulfilment")),
		outbox.ToConsumer("stock", ReserveStock{}, ReleaseStock{}),
		outbox.ToConsumer("bank", TakePayment{}, Refund{}),
		outbox.ToConsumer("carrier", Ship{}),
		outbox.ToConsumer("customers", OrderAccepted{}, OrderRejected{}, OrderShipped{}),
	}
}

// shop is the whole program: the flow, its participants, and what customers are told.
type shop struct {
	db    sqltx.DB[*sql.Tx]
	out   *outbox.Outbox
	flow  *flow.Flow[*sql.Tx, Order]
	runs  []sixfold.Runnable
	told  chan string     // what customers are told
	ended chan flow.Ended // instances
}

func newShop(db sqltx.DB[*sql.Tx], st *store.Store) (*shop, error) {
	s := &shop{db: db, told: make(chan string, 10), ended: make(chan flow.Ended, 10)}
	var err error
	if s.out, err = outbox.New(st.Outbox(), nil, routes()...); err != nil {
		return nil, err
	}
	in, err := inbox.New(db, st.Inbox(), nil)
	if err != nil {
		return nil, err
	}
	box, err := saga.NewBox(in, s.out, st.Sagas(), nil)
	if err != nil {
		return nil, err
	}
	if s.flow, err = newFulfilment(box, func(_ context.Context, e flow.Ended) { s.ended <- e }); err != nil {
		return nil, err
	}
	scheduler, err := schedule.New(st.Schedule(), s.out, nil) // time limits need one
	if err != nil {
		return nil, err
	}
	local, err := outbox.NewLocal(st.Outbox(), db, nil)
	if err != nil {
		return nil, err
	}
	s.runs = []sixfold.Runnable{scheduler}
	for name, routes := range map[string][]sixfold.Route{
		"orders":    s.flow.Routes(),
		"stock":     stock(in, &participant{s.out, "stock"}),
		"bank":      bank(in, &participant{s.out, "bank"}),
		"carrier":   carrier(in, &participant{s.out, "carrier"}),
		"customers": s.customers(),
	} {
		c, err := bus.NewConsumer(local, bus.Subscription{Group: name, Ordered: true}, nil, routes...)
		if err != nil {
			return nil, err
		}
		s.runs = append(s.runs, c)
	}
	return s, nil
}

// customers are told what becomes of their orders.
func (s *shop) customers() []sixfold.Route {
	tell := func(format string, args ...any) error { s.told <- fmt.Sprintf(format, args...); return nil }
	return []sixfold.Route{
		sixfold.On(func(_ context.Context, m OrderAccepted) error { return tell("%s is accepted", m.Order) }),
		sixfold.On(func(_ context.Context, m OrderRejected) error { return tell("%s is rejected: %s", m.Order, m.Why) }),
		sixfold.On(func(_ context.Context, m OrderShipped) error { return tell("%s is shipped: %s", m.Order, m.Parcel) }),
	}
}

// place begins the flow of an order, in the transaction that would write it.
func (s *shop) place(ctx context.Context, m OrderPlaced) error {
	return outbox.Do(ctx, s.out, s.db, func(_ context.Context, _ *sql.Tx, u *outbox.Unit) error {
		u.Publish(m)
		return nil
	})
}

// day takes the three orders, one after the other.
func (s *shop) day(ctx context.Context, out io.Writer) error {
	for i, customer := range []string{"Ada", "Ben", "Cleo"} {
		order := fmt.Sprintf("o-%d", i+1)
		if err := s.place(ctx, OrderPlaced{order, customer, "lamp", 1900}); err != nil {
			return err
		}
		e, err := wait(ctx, s.ended)
		if err != nil {
			return err
		}
		if e.Status == saga.Stuck {
			fmt.Fprintf(out, "%s is stuck: %s\n", e.Key, e.Reason)
			// Somebody pays Cleo back by hand, and the flow goes on behind that.
			if err := s.flow.Resume(ctx, e.Key, "", "Dora of the accounts"); err != nil {
				return err
			}
			if e, err = wait(ctx, s.ended); err != nil {
				return err
			}
		}
		for range 2 {
			told, err := wait(ctx, s.told)
			if err != nil {
				return err
			}
			fmt.Fprintln(out, told)
		}
		fmt.Fprintln(out, e.Key, "is", e.Status)
	}
	return nil
}

func wait[T any](ctx context.Context, c <-chan T) (v T, err error) {
	select {
	case v = <-c:
		return v, nil
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

// run opens the database file, makes the tables, and has a day of the shop.
func run(ctx context.Context, file string, out io.Writer) error {
	sqlDB, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer sqlDB.Close()
	if _, err := sqlDB.ExecContext(ctx, tables); err != nil {
		return err
	}
	db := sqltx.StdDB(sqlDB)
	st, err := store.SQLite(db, nil)
	if err != nil {
		return err
	}
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	s, err := newShop(db, st)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(ctx, s.runs...) }()
	err = s.day(ctx, out)
	stop()
	if rerr := <-ran; err == nil {
		err = rerr
	}
	return err
}

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil))) // a stuck instance is logged
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	dir, err := os.MkdirTemp("", "fulfilment-")
	if err == nil {
		err = run(ctx, filepath.Join(dir, "shop.db"), os.Stdout)
		_ = os.RemoveAll(dir)
	}
	stop()
	if err != nil {
		log.Fatal(err)
	}
}
