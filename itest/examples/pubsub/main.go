// Program pubsub shows publish and subscribe: a shop says that orders were placed and knows nobody who listens. Shipping
// and billing each handle every order once, however many processes of theirs there are; each screen in the shop has a copy
// for itself while it is there. It needs no server: the database is an SQLite file in a new directory, and the broker is in
// the process.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// OrderPlaced is an event: it says what has happened, to nobody in particular.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
	Cents   int    `json:"cents"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// shop is the program.
type shop struct {
	db   sqltx.DB[*sql.Tx]
	box  *outbox.Outbox
	runs []sixfold.Runnable

	mu     sync.Mutex
	screen [2][]string // what each screen showed
}

// newShop wires the program up. Tests give it their own outbox and broker.
func newShop(ctx context.Context, db *sql.DB, out outbox.Store, in inbox.Store, broker bus.Transport) (*shop, error) {
	s := &shop{db: sqltx.StdDB(db)}
	_, err := db.ExecContext(ctx, `CREATE TABLE orders (id TEXT PRIMARY KEY); CREATE TABLE shipments (order_id TEXT); CREATE TABLE bills (order_id TEXT, cents INTEGER)`)
	if err != nil {
		return nil, err
	}
	if s.box, err = outbox.New(out, nil, outbox.To("orders", OrderPlaced{})); err != nil {
		return nil, err
	}
	relay, err := outbox.NewRelay(out, broker, nil)
	if err != nil {
		return nil, err
	}
	remembered, err := inbox.New(s.db, in, nil)
	if err != nil {
		return nil, err
	}

	// Each group gets every order; within a group, one process handles it.
	shipping, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}, nil,
		inbox.On(remembered, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO shipments (order_id) VALUES (?)", m.OrderID)
			return err
		}))
	if err != nil {
		return nil, err
	}
	billing, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}, Group: "billing", Ordered: true}, nil,
		inbox.On(remembered, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO bills (order_id, cents) VALUES (?, ?)", m.OrderID, m.Cents)
			return err
		}))
	if err != nil {
		return nil, err
	}
	s.runs = []sixfold.Runnable{shipping, billing}

	// Without a group each consumer has a copy of its own, from now on and while it is there.
	for i := range s.screen {
		screen, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"orders"}}, nil,
			sixfold.On(func(_ context.Context, m OrderPlaced) error {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.screen[i] = append(s.screen[i], m.OrderID)
				return nil
			}))
		if err != nil {
			return nil, err
		}
		s.runs = append(s.runs, screen)
	}
	s.runs = append(s.runs, relay) // it stops first, so that nothing new comes while the others finish
	return s, nil
}

// place writes an order and its event in one transaction.
func (s *shop) place(ctx context.Context, order string, cents int) error {
	return outbox.Do(ctx, s.box, s.db, func(ctx context.Context, tx *sql.Tx, u *outbox.Unit) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", order); err != nil {
			return err
		}
		u.Publish(OrderPlaced{OrderID: order, Cents: cents})
		return nil
	})
}

// screens is what they show, in the order of names.
func (s *shop) screens() (first, second []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.screen[0])), slices.Sorted(slices.Values(s.screen[1]))
}

// openDatabase opens the file and makes Sixfold's tables. clock may be nil.
func openDatabase(ctx context.Context, file string, clock func() time.Time) (*sql.DB, *store.Store, error) {
	db, err := sql.Open("sqlite", "file:"+file+"?_txlock=immediate&_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(1) // who writes waits for the connection, and not for the file's lock
	st, err := store.SQLite(sqltx.StdDB(db), &store.Options{Clock: clock})
	if err == nil {
		err = st.Migrate(ctx)
	}
	if err != nil {
		db.Close()
		return nil, nil, err
	}
	return db, st, nil
}

func main() {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	dir, err := os.MkdirTemp("", "pubsub-")
	if err != nil {
		log.Fatal(err)
	}
	err = run(ctx, filepath.Join(dir, "shop.db"), os.Stdout)
	if rerr := os.RemoveAll(dir); err == nil {
		err = rerr
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run places three orders and goes on until everybody has heard of them.
func run(ctx context.Context, file string, w io.Writer) error {
	db, st, err := openDatabase(ctx, file, nil)
	if err != nil {
		return err
	}
	defer db.Close()
	// Dead letters need a place too.
	broker := memory.New(&memory.Options{Topics: []string{"orders", "orders.dead"}})
	s, err := newShop(ctx, db, st.Outbox(), st.Inbox(), broker)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(ctx, s.runs...) }()
	for _, r := range s.runs { // copies begin with what is sent from now on
		if c, ok := r.(*bus.Consumer); ok && !until(ctx, func() bool { return c.Health().State == bus.Running }) {
			return <-ran
		}
	}
	for i, order := range []string{"o-1", "o-2", "o-3"} {
		if err := s.place(ctx, order, 1000*(i+1)); err != nil {
			return err
		}
	}
	until(ctx, func() bool {
		stats, err := st.Outbox().Keeper().Stats(ctx, outbox.ToBroker)
		return err == nil && stats.Pending == 0 && broker.Pending("orders") == 0
	})
	stop()
	if err := <-ran; err != nil {
		return err
	}
	var shipments, cents int
	if err := db.QueryRow("SELECT count(*) FROM shipments").Scan(&shipments); err != nil {
		return err
	}
	if err := db.QueryRow("SELECT sum(cents) FROM bills").Scan(&cents); err != nil {
		return err
	}
	first, second := s.screens()
	_, err = fmt.Fprintf(w, "%d shipments, %d cents billed, screens show %v and %v\n", shipments, cents, first, second)
	return err
}

// until looks until it is true, and answers false when ctx ends before that.
func until(ctx context.Context, is func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}
