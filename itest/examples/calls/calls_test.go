package calls

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/mediator"
	"github.com/sixfold-go/sixfold/middleware"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a database in memory is warned of
	os.Exit(m.Run())
}

// must ends an example that cannot go on.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// open makes a shop on a database in memory.
func open(ctx context.Context) (s *Shop, db sqltx.DB[*sql.Tx], st *store.Store) {
	sqlDB := must(sql.Open("sqlite", ":memory:"))
	sqlDB.SetMaxOpenConns(1) // in memory, each connection would be a database of its own
	must(sqlDB.ExecContext(ctx, "CREATE TABLE orders (id TEXT PRIMARY KEY, customer TEXT)"))
	db = sqltx.StdDB(sqlDB)
	st = must(store.SQLite(db, nil))
	must(0, st.Migrate(ctx))
	box := must(outbox.New(st.Outbox(), nil, outbox.ToConsumer("warehouse", OrderCreated{}), outbox.ToConsumer("shop", CreateOrder{})))
	return &Shop{DB: sqlDB, Box: box, TX: must(newTX(db, box)), Out: os.Stdout}, db, st
}

func newTX(db sqltx.DB[*sql.Tx], box *outbox.Outbox) (*middleware.Transaction[*sql.Tx], error) {
	tx, err := middleware.NewTransaction(db, &middleware.TransactionOptions{Committed: box.Committed})
	return tx, err
}

// waiting is the number of messages in the outbox.
func waiting(ctx context.Context, st *store.Store) int64 {
	return must(st.Outbox().Keeper().Stats(ctx, outbox.ToLocal)).Pending
}

func patience() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Minute)
}

func Example() {
	ctx, cancel := patience()
	defer cancel()
	shop, _, st := open(ctx)
	defer shop.DB.Close()

	m, err := mediator.New(&mediator.Options{
		Middleware: []sixfold.Middleware{middleware.Recover(), middleware.Logging(nil), middleware.Validate()},
		Policy:     mediator.InOrder,
	}, shop.Routes()...)
	if err != nil {
		fmt.Println(err)
		return
	}

	id, err := mediator.Send(ctx, m, CreateOrder{Customer: "Ada", Cents: 1999}) // a string
	fmt.Println(id, err, waiting(ctx, st), "message waits in the outbox")

	customer, err := mediator.Query(ctx, m, FindOrder{ID: id})
	fmt.Println(customer, err)

	_, err = mediator.Send(ctx, m, CreateOrder{Customer: "Ada"})
	fmt.Println(errors.Is(err, sixfold.ErrInvalid), waiting(ctx, st))

	for id, err := range mediator.Stream(ctx, m, ListOrders{}) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Println("listed", id)
	}

	err = mediator.Publish(ctx, m, OrderCreated{ID: id})
	fmt.Println(err)

	_, err = mediator.Send(ctx, m, CancelOrder{ID: id})
	fmt.Println(err)
	// Output:
	// o-1 <nil> 1 message waits in the outbox
	// Ada <nil>
	// true 1
	// listed o-1
	// thank you for o-1
	// counted o-1
	// <nil>
	// <nil>
}

// A consumer's route hands on to the mediator, in the inbox's transaction.
func Example_fromTheBus() {
	ctx, cancel := patience()
	defer cancel()
	shop, db, st := open(ctx)
	defer shop.DB.Close()
	m := must(mediator.New(nil, shop.Routes()...))

	done := make(chan struct{})
	box := must(inbox.New(db, st.Inbox(), nil))
	route := inbox.On(box, func(ctx context.Context, tx *sql.Tx, c CreateOrder) error {
		_, err := mediator.Send(shop.TX.With(ctx, tx), m, c)
		return err
	})
	created := inboxless(mediator.NotificationRoute(m, OrderCreated{}, mediator.InOrder), done)

	local := must(outbox.NewLocal(st.Outbox(), db, nil))
	in := must(bus.NewConsumer(local, bus.Subscription{Group: "shop", Ordered: true}, nil, route))
	warehouse := must(bus.NewConsumer(local, bus.Subscription{Group: "warehouse", Ordered: true}, nil, created))
	must(0, outbox.Do(ctx, shop.Box, db, func(_ context.Context, _ *sql.Tx, u *outbox.Unit) error {
		u.Publish(CreateOrder{Customer: "Grace", Cents: 100})
		return nil
	}))
	run, stop := context.WithCancel(ctx)
	go func() { <-done; stop() }()
	fmt.Println(sixfold.Run(run, in, warehouse))
	// Output:
	// thank you for o-1
	// counted o-1
	// <nil>
}

// inboxless ends the example after the first message.
func inboxless(r sixfold.Route, done chan struct{}) sixfold.Route {
	return r.With(func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			defer close(done)
			return next(ctx, env)
		}
	})
}

// One breaker for two routes that need the same service.
func Example_breaker() {
	breaker, err := middleware.NewBreaker("card service", &middleware.BreakerOptions{
		Failures:   5,
		ProbeAfter: 10 * time.Second,
		Changed:    func(s middleware.BreakerState) { fmt.Println(s.Name, "is", s.Phase) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	down := errors.New("connection refused")
	charge := sixfold.On(func(context.Context, OrderCreated) error { return down }).With(breaker.Middleware())
	refund := sixfold.On(func(context.Context, CancelOrder) error { return down }).With(breaker.Middleware())

	env := &sixfold.Envelope{Type: "orders.created", Body: []byte(`{}`)}
	for range 5 {
		_ = charge.Handler()(context.Background(), env)
	}
	err = refund.Handler()(context.Background(), &sixfold.Envelope{Type: "orders.cancel", Body: []byte(`{}`)})
	fmt.Println(errors.Is(err, middleware.ErrOpen), errors.Is(err, bus.ErrUnavailable)) // it waits, and no attempt is counted
	// Output:
	// card service is open
	// true true
}

func Example_onion() {
	ctx := context.Background()
	mark := func(name string) sixfold.Middleware {
		return func(next sixfold.Handler) sixfold.Handler {
			return func(ctx context.Context, env *sixfold.Envelope) error {
				fmt.Print(name, "( ")
				defer fmt.Print(") ")
				return next(ctx, env)
			}
		}
	}
	m, err := mediator.New(&mediator.Options{
		Middleware: []sixfold.Middleware{mark("all")},
		Commands:   []sixfold.Middleware{mark("commands")},
	}, mediator.OnCommand(func(context.Context, CreateOrder) (string, error) { return "o-1", nil }).With(mark("own")))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _ = mediator.Send(ctx, m, CreateOrder{})
	// Output: all( commands( own( ) ) )
}

// A middleware that sees the message, and one that answers in place of the handler.
func Example_typed() {
	ctx := context.Background()
	large, err := middleware.Typed(func(ctx context.Context, c CreateOrder, next func(context.Context) error) error {
		if c.Cents > 100_000 {
			return fmt.Errorf("ask the manager for an order of %d cents", c.Cents)
		}
		return next(ctx)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	known := func(next sixfold.Handler) sixfold.Handler {
		return func(ctx context.Context, env *sixfold.Envelope) error {
			if customer, ok := mediator.Cell[string](ctx); ok && env.Message() == any(FindOrder{ID: "o-1"}) {
				*customer = "Ada, from the cache"
				return nil
			}
			return next(ctx, env)
		}
	}
	m, err := mediator.New(&mediator.Options{Middleware: []sixfold.Middleware{large}, Queries: []sixfold.Middleware{known}},
		mediator.OnCommand(func(context.Context, CreateOrder) (string, error) { return "o-1", nil }),
		mediator.OnQuery(func(context.Context, FindOrder) (string, error) { return "", sql.ErrNoRows }))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = mediator.Send(ctx, m, CreateOrder{Cents: 200_000})
	fmt.Println(err)
	fmt.Println(mediator.Query(ctx, m, FindOrder{ID: "o-1"}))
	fmt.Println(mediator.Query(ctx, m, FindOrder{ID: "o-2"}))
	// Output:
	// ask the manager for an order of 200000 cents
	// Ada, from the cache <nil>
	//  sql: no rows in result set
}

// What a service does around its handlers.
func Example_stack() {
	timeout, err1 := middleware.Timeout(5 * time.Second)
	limit, err2 := middleware.NewRateLimit(middleware.RateOptions{PerSecond: 100, Burst: 20})
	retry, err3 := middleware.NewRetry(&middleware.RetryOptions{Attempts: 3})
	allow, err4 := middleware.Authorise(func(ctx context.Context, env *sixfold.Envelope) (bool, error) {
		return ctx.Value(userKey{}) != nil, nil
	})
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		fmt.Println(err)
		return
	}
	m, err := mediator.New(&mediator.Options{
		Middleware: []sixfold.Middleware{middleware.Recover(), middleware.Logging(nil), middleware.Validate(), allow, timeout},
		Commands:   []sixfold.Middleware{middleware.Only(limit.Middleware(), CreateOrder{}), retry},
	}, mediator.OnCommand(func(context.Context, CreateOrder) (string, error) { return "o-1", nil }))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	_, err = mediator.Send(ctx, m, CreateOrder{Cents: 1})
	fmt.Println(errors.Is(err, middleware.ErrForbidden))
	fmt.Println(mediator.Send(context.WithValue(ctx, userKey{}, "ada"), m, CreateOrder{Cents: 1}))
	// Output:
	// true
	// o-1 <nil>
}

type userKey struct{}

// The whole application is looked at once, in a test of its own.
func TestEveryMessageHasItsHandler(t *testing.T) {
	shop, _, _ := open(t.Context())
	defer shop.DB.Close()
	if err := mediator.Verify(shop.Routes(), Messages()...); err != nil {
		t.Error(err)
	}
}

func TestVerifySaysWhatIsMissing(t *testing.T) {
	shop, _, _ := open(t.Context())
	defer shop.DB.Close()
	err := mediator.Verify(shop.Routes()[1:], Messages()...)
	if !errors.Is(err, mediator.ErrNoHandler) || !strings.Contains(err.Error(), "messages.go:") || !strings.Contains(err.Error(), "orders.create") {
		t.Error(err)
	}
}
