// Program reservations is a shop that asks a warehouse for what must be answered although processes end. The request goes through
// the shop's outbox, in the transaction of the order, the reply through the warehouse's, in the transaction of the shelf; the shop is
// stopped in between. Then a till takes something from the shelf by a call that is made twice, and takes it once.
//
//	go run ./examples/reservations
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

const tables = `CREATE TABLE orders (id TEXT PRIMARY KEY, item TEXT NOT NULL, state TEXT NOT NULL, request TEXT NOT NULL DEFAULT '');
CREATE TABLE shelf (place INTEGER PRIMARY KEY, item TEXT NOT NULL, held_for TEXT NOT NULL DEFAULT '');
INSERT INTO shelf (place, item) VALUES (7, 'lamp'), (8, 'lamp')`

// both are the two services. They have one file here, and would have a database each.
type both struct {
	db        sqltx.DB[*sql.Tx]
	st        *store.Store
	shop      *Shop
	relay     *outbox.Relay
	scheduler *schedule.Scheduler
	warehouse *bus.Consumer
	replies   func() (*bus.Consumer, error)
}

func build(ctx context.Context, sqlDB *sql.DB) (*both, error) {
	b := &both{db: sqltx.StdDB(sqlDB)}
	var err error
	if b.st, err = store.SQLite(b.db, nil); err != nil {
		return nil, err
	}
	if err := b.st.Migrate(ctx); err != nil {
		return nil, err
	}
	broker := memory.New(&memory.Options{Topics: []string{"warehouse", "shop.replies"}})
	ob, err := outbox.New(b.st.Outbox(), nil, outbox.To("warehouse", Reserve{}))
	if err != nil {
		return nil, err
	}
	box, err := inbox.New(b.db, b.st.Inbox(), nil)
	if err != nil {
		return nil, err
	}
	if b.scheduler, err = schedule.New(b.st.Schedule(), ob, nil); err != nil {
		return nil, err
	}
	if b.relay, err = outbox.NewRelay(b.st.Outbox(), broker, &outbox.RelayOptions{Poll: 20 * time.Millisecond}); err != nil {
		return nil, err
	}
	requests, err := durable.New(ob, box, &durable.Options{ReplyTo: "shop.replies", Scheduler: b.scheduler})
	if err != nil {
		return nil, err
	}
	b.shop = &Shop{db: b.db, requests: requests, told: make(chan string, 10)}
	b.replies = func() (*bus.Consumer, error) {
		return bus.NewConsumer(broker, bus.Subscription{Topics: []string{"shop.replies"}, Group: "shop"}, nil,
			durable.On(requests, b.shop.outcome))
	}
	b.warehouse, err = bus.NewConsumer(broker, bus.Subscription{Topics: []string{"warehouse"}, Group: "warehouse"}, nil,
		durable.Answer(requests, Warehouse{}.Reserve))
	return b, err
}

// start runs something until stop is called.
func start(ctx context.Context, rs ...sixfold.Runnable) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(ctx, rs...) }()
	return sync.OnceValue(func() error { cancel(); return <-ran })
}

func run(ctx context.Context, file string, out io.Writer) error {
	sqlDB, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer sqlDB.Close()
	if _, err := sqlDB.ExecContext(ctx, tables); err != nil {
		return err
	}
	b, err := build(ctx, sqlDB)
	if err != nil {
		return err
	}
	if err := b.durably(ctx, out); err != nil {
		return err
	}
	return b.twice(ctx, out)
}

// durably has two orders answered, of which the shop hears after it was away.
func (b *both) durably(ctx context.Context, out io.Writer) error {
	replies, err := b.replies()
	if err != nil {
		return err
	}
	shop := start(ctx, replies) // so that the broker knows the shop
	defer shop()
	rest := start(ctx, b.relay, b.scheduler, b.warehouse)
	defer rest()
	hear := func() error {
		select {
		case told := <-b.shop.told:
			fmt.Fprintln(out, told)
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := errors.Join(b.shop.place(ctx, "o-1", "lamp"), hear(), b.shop.place(ctx, "o-2", "sofa"), shop()); err != nil {
		return err
	}
	again, err := b.replies()
	if err != nil {
		return err
	}
	shop2 := start(ctx, again)
	defer shop2()
	return errors.Join(hear(), shop2(), rest())
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	dir, err := os.MkdirTemp("", "reservations-")
	if err == nil {
		err = run(ctx, filepath.Join(dir, "shop.db"), os.Stdout)
		_ = os.RemoveAll(dir)
	}
	stop()
	if err != nil {
		log.Fatal(err)
	}
}
