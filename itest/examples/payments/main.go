// Program payments is two services over RabbitMQ: orders says that an order was placed, payments takes the money and says
// so, and orders notes it. Each has tables of its own, which the other one never sees, and writes its rows and its messages
// in one transaction. Set SIXFOLD_DSN to a PostgreSQL database and SIXFOLD_BROKER to the address of a RabbitMQ node. The
// program makes the schemas shop, bank, shop_sixfold and bank_sixfold, and can be run again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv("SIXFOLD_DSN"), os.Getenv("SIXFOLD_BROKER"), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run starts both services, places three orders, and stops when all of them are decided.
func run(ctx context.Context, dsn, address string, w io.Writer) error {
	if dsn == "" || address == "" {
		return errors.New("payments: set SIXFOLD_DSN to a PostgreSQL database and SIXFOLD_BROKER to the address of RabbitMQ")
	}
	broker, err := openBroker(address)
	if err != nil {
		return err
	}
	defer broker.Close(context.WithoutCancel(ctx))
	decided := make(chan string, 100)
	shop, err := newOrders(ctx, dsn, broker, func(order, state string) { decided <- order + " " + state })
	if err != nil {
		return err
	}
	defer shop.pool.Close()
	bank, err := newPayments(ctx, dsn, broker)
	if err != nil {
		return err
	}
	defer bank.pool.Close()

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(ctx, append(shop.runs, bank.runs...)...) }()
	for _, cents := range []int{1999, 250_000, 4999} {
		order, err := shop.place(ctx, cents)
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "placed an order of", cents, "cents")
		select {
		case what := <-decided:
			if what != order+" paid" && what != order+" refused" {
				return fmt.Errorf("payments: it was decided about %s, while %s was waited for", what, order)
			}
			fmt.Fprintln(w, "it is", what[len(order)+1:])
		case err := <-ran:
			return err
		}
	}
	stop()
	return <-ran
}

// openBroker names what there is at the broker. The groups are declared before anybody sends, so that nothing is missed
// by a service that starts later.
func openBroker(address string) (*rabbitmq.Transport, error) {
	return rabbitmq.New(address, &rabbitmq.Options{Groups: []bus.Subscription{toPayments, toOrders}})
}

// service is what both have: tables of their own, an outbox with its relay, and an inbox.
type service struct {
	pool *pgxpool.Pool
	db   sqltx.DB[pgx.Tx]
	box  *outbox.Outbox
	in   *inbox.Box[pgx.Tx]
	runs []sixfold.Runnable
}

// newService opens the database, and makes the service's tables in the schema of that name and Sixfold's in one beside it.
func newService(ctx context.Context, dsn, name, tables string, broker bus.Transport, route outbox.Route) (*service, error) {
	pool, err := pgxpool.New(ctx, dsn)
	if err != nil {
		return nil, err
	}
	s := &service{pool: pool, db: postgres.DB(pool)}
	if err := s.open(ctx, name, tables, broker, route); err != nil {
		pool.Close()
		return nil, err
	}
	return s, nil
}

func (s *service) open(ctx context.Context, name, tables string, broker bus.Transport, route outbox.Route) error {
	if _, err := s.pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+name+"; "+tables); err != nil {
		return err
	}
	st, err := store.Postgres(s.db, &store.Options{Schema: name + "_sixfold"})
	if err != nil {
		return err
	}
	if err := st.Migrate(ctx); err != nil {
		return err
	}
	if s.box, err = outbox.New(st.Outbox(), &outbox.Options{Source: name}, route); err != nil {
		return err
	}
	if s.in, err = inbox.New(s.db, st.Inbox(), nil); err != nil {
		return err
	}
	relay, err := outbox.NewRelay(st.Outbox(), broker, nil)
	s.runs = append(s.runs, relay)
	return err
}

// consume adds the service's consumer.
func (s *service) consume(broker bus.Transport, of bus.Subscription, hooks bus.Hooks, routes ...sixfold.Route) error {
	c, err := bus.NewConsumer(broker, of, &bus.Options{Hooks: hooks, HandlerTimeout: 10 * time.Second}, routes...)
	s.runs = append(s.runs, c)
	return err
}
