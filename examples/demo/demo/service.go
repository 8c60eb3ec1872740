package demo

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

// lease of the relays: short, so that the demo need not wait long for the successor of a killed one.
const lease = 600 * time.Millisecond

// Service is one of the three: its database, and what Sixfold keeps in it.
type Service struct {
	name string
	sql  *sql.DB
	db   sqltx.DB[*sql.Tx]
	st   *store.Store
}

// names of the services, in the order of an order's way, each with the one that its messages go to.
var next = map[string]string{"orders": "payments", "payments": "shipping", "shipping": "orders"}

func names() []string { return []string{"orders", "payments", "shipping"} }

// openService opens a service's database file, which migrate has made. synchronous=NORMAL survives every death of a
// process, which is what is shown here, but not a power failure: a real service leaves it at FULL.
func openService(dir, name string, log *slog.Logger) (*Service, error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, name+".db")+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return nil, fmt.Errorf("demo: open %s: %w", name, err)
	}
	db.SetMaxOpenConns(1) // SQLite has one writer; waiting for the connection is quicker than for the file's lock
	s := &Service{name: name, sql: db, db: sqltx.StdDB(db)}
	if s.st, err = store.SQLite(s.db, &store.Options{Logger: log}); err != nil {
		db.Close()
		return nil, fmt.Errorf("demo: open %s: %w", name, err)
	}
	return s, nil
}

// effects is the table of each service, without any constraint: what comes twice is there twice.
const effects = `CREATE TABLE effects (n INTEGER PRIMARY KEY AUTOINCREMENT, "order" TEXT NOT NULL, customer TEXT NOT NULL, number INTEGER NOT NULL, micros INTEGER NOT NULL)`

func (s *Service) migrate(ctx context.Context) error {
	if err := s.st.Migrate(ctx); err != nil {
		return err
	}
	statements := []string{effects}
	if s.name == "orders" {
		statements = append(statements, `CREATE TABLE orders (id TEXT NOT NULL, customer TEXT NOT NULL, number INTEGER NOT NULL)`,
			`CREATE TABLE customers (name TEXT PRIMARY KEY, orders INTEGER NOT NULL)`)
	}
	for _, q := range statements {
		if _, err := s.sql.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("demo: make the tables of %s: %w", s.name, err)
		}
	}
	return nil
}

// outbox of the service: where its messages go.
func (s *Service) outbox() (*outbox.Outbox, error) {
	return outbox.New(s.st.Outbox(), &outbox.Options{Source: s.name}, outbox.To(next[s.name], OrderPlaced{}, PaymentTaken{}, OrderShipped{}))
}

// consumer of the service, on the transport on which its messages come.
func (s *Service) consumer(t bus.Transport, log *slog.Logger) (*bus.Consumer, error) {
	box, err := inbox.New(s.db, s.st.Inbox(), &inbox.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	out, err := s.outbox()
	if err != nil {
		return nil, err
	}
	// effect writes the service's row and its next message in the transaction that records the message as handled.
	effect := func(ctx context.Context, tx *sql.Tx, o OrderPlaced, then sixfold.Message) error {
		took := time.Now().UnixMicro() - o.PlacedAt
		_, err := tx.ExecContext(ctx, `INSERT INTO effects ("order", customer, number, micros) VALUES (?, ?, ?, ?)`, o.Order, o.Customer, o.Number, took)
		if err != nil || then == nil {
			return err
		}
		_, err = out.Publish(ctx, sqltx.Std(tx), then)
		return err
	}
	return bus.NewConsumer(t, bus.Subscription{Topics: []string{s.name}, Group: s.name, Ordered: true},
		&bus.Options{Inbox: box, Logger: log, Concurrency: 4}, s.route(box, effect))
}

// route is what the service does with the messages that come to it.
func (s *Service) route(box *inbox.Box[*sql.Tx], effect func(context.Context, *sql.Tx, OrderPlaced, sixfold.Message) error) sixfold.Route {
	switch s.name {
	case "payments":
		return inbox.On(box, func(ctx context.Context, tx *sql.Tx, m OrderPlaced) error { return effect(ctx, tx, m, PaymentTaken(m)) })
	case "shipping":
		return inbox.On(box, func(ctx context.Context, tx *sql.Tx, m PaymentTaken) error {
			return effect(ctx, tx, OrderPlaced(m), OrderShipped(m))
		})
	default:
		return inbox.On(box, func(ctx context.Context, tx *sql.Tx, m OrderShipped) error {
			return effect(ctx, tx, OrderPlaced(m), nil)
		})
	}
}
