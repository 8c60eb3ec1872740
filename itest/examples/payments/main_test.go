package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // connections are cut on purpose
	servers.Main(m)
}

// The program, twice in the same database and on the same node.
func TestProgram(t *testing.T) { // guarantees: O1, I1
	dsn, node := servers.Postgres(t).Database(t), servers.RabbitMQ(t)
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	for range 2 {
		var out strings.Builder
		if err := run(ctx, dsn, node.URL(), &out); err != nil {
			t.Fatal(err)
		}
		want := "placed an order of 1999 cents\nit is paid\nplaced an order of 250000 cents\nit is refused\nplaced an order of 4999 cents\nit is paid\n"
		if out.String() != want {
			t.Errorf("it printed %q", &out)
		}
	}
}

func TestProgramNamesWhatIsMissing(t *testing.T) {
	err := run(t.Context(), "", "", &strings.Builder{})
	if err == nil || !strings.Contains(err.Error(), "SIXFOLD_DSN") || !strings.Contains(err.Error(), "SIXFOLD_BROKER") {
		t.Errorf("without any address: %v", err)
	}
}

// Two services with a database each, while every connection to the broker is cut again and again: each order is decided, and
// none is paid twice.
func TestCutConnections(t *testing.T) { // guarantees: O1, R1, R2, R7, I1, I7
	if testing.Short() {
		t.Skip("it starts a node of its own")
	}
	node := servers.PrivateRabbitMQ(t, nil)
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	broker, err := openBroker(node.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close(context.Background())
	const count = 300
	var mu sync.Mutex
	states, all := map[string]string{}, make(chan struct{})
	shop, err := newOrders(ctx, servers.Postgres(t).Database(t), broker, func(order, state string) {
		mu.Lock()
		defer mu.Unlock()
		before := len(states)
		states[order] = state
		if len(states) == count && before < count {
			close(all)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer shop.pool.Close()
	bank, err := newPayments(ctx, servers.Postgres(t).Database(t), broker)
	if err != nil {
		t.Fatal(err)
	}
	defer bank.pool.Close()
	run, end := context.WithCancel(ctx)
	defer end()
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(run, append(shop.runs, bank.runs...)...) }()

	want := map[string]string{}
	for i := range count {
		if i%75 == 50 {
			if err := node.CloseConnections(ctx); err != nil {
				t.Fatal(err)
			}
		}
		cents, state := 100+i, "paid"
		if i%10 == 0 {
			cents, state = limit+1, "refused"
		}
		order, err := shop.place(ctx, cents)
		if err != nil {
			t.Fatal(err)
		}
		want[order] = state
	}
	select {
	case <-all:
	case <-ctx.Done():
		mu.Lock()
		t.Errorf("%d of %d orders were decided", len(states), count)
		mu.Unlock()
	}
	end()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	paid := 0
	for order, state := range want {
		var got string
		if err := shop.pool.QueryRow(t.Context(), "SELECT state FROM shop.orders WHERE id = $1", order).Scan(&got); err != nil || got != state {
			t.Errorf("an order is %q, %v; want %q", got, err, state)
		}
		if state == "paid" {
			paid++
		}
	}
	var payments, once int
	err = bank.pool.QueryRow(t.Context(), "SELECT count(*), count(DISTINCT order_id) FROM bank.payments").Scan(&payments, &once)
	if err != nil || payments != paid || once != paid {
		t.Errorf("%d payments of %d orders, %v; want %d", payments, once, err, paid)
	}
	for name, s := range map[string]*service{"shop": shop.service, "bank": bank.service} {
		var left int
		if err := s.pool.QueryRow(t.Context(), "SELECT count(*) FROM "+name+"_sixfold.outbox").Scan(&left); err != nil || left != 0 {
			t.Errorf("%d messages are left in the outbox of %s, %v", left, name, err)
		}
	}
}

// A second copy of an order, as after the death of a relay, is not paid again and not answered again.
// [DuplicateDoesNotReEmit]
func TestSecondCopy(t *testing.T) { // guarantees: I1, I7
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	broker, err := openBroker(servers.RabbitMQ(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close(context.Background())
	decided := make(chan string, 10)
	dsn := servers.Postgres(t).Database(t)
	shop, err := newOrders(ctx, dsn, broker, func(_, state string) { decided <- state })
	if err != nil {
		t.Fatal(err)
	}
	defer shop.pool.Close()
	bank, err := newPayments(ctx, dsn, broker)
	if err != nil {
		t.Fatal(err)
	}
	defer bank.pool.Close()

	publisher, err := bus.NewPublisher(broker, nil)
	if err != nil {
		t.Fatal(err)
	}
	order := sixfold.NewID()
	var envs []*sixfold.Envelope
	for _, cents := range []int{100, limit + 1} {
		env, err := sixfold.NewEnvelope(ctx, "shop", nil, OrderPlaced{OrderID: order, Cents: cents})
		if err != nil {
			t.Fatal(err)
		}
		envs = append(envs, env)
	}
	again := *envs[0]
	envs = []*sixfold.Envelope{envs[0], &again, envs[1]}
	if err := errors.Join(publisher.PublishEnvelopes(ctx, "orders", envs), publisher.Close(ctx)); err != nil {
		t.Fatal(err)
	}
	run, end := context.WithCancel(ctx)
	defer end()
	ran := make(chan error, 1)
	go func() { ran <- sixfold.Run(run, append(shop.runs, bank.runs...)...) }()
	// Messages of one key come in order, so both copies of the first were handled when the second one is decided.
	for _, want := range []string{"paid", "refused"} {
		select {
		case got := <-decided:
			if got != want {
				t.Errorf("it was decided %q, want %q", got, want)
			}
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
	end()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	var n int
	if err := bank.pool.QueryRow(t.Context(), "SELECT count(*) FROM bank.payments").Scan(&n); err != nil || n != 1 {
		t.Errorf("%d payments, %v", n, err)
	}
}

// A transaction that fails leaves neither an order nor a message.
func TestRolledBack(t *testing.T) { // guarantees: O1
	broker, err := openBroker("amqp://guest:guest@127.0.0.1:1/") // nobody is there, and nobody is asked
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close(context.Background())
	shop, err := newOrders(t.Context(), servers.Postgres(t).Database(t), broker, func(string, string) {})
	if err != nil {
		t.Fatal(err)
	}
	defer shop.pool.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := shop.place(ctx, 100); err == nil {
		t.Error("an order was placed with a context that had ended")
	}
	var orders, messages int
	err = shop.pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM shop.orders), (SELECT count(*) FROM shop_sixfold.outbox)").Scan(&orders, &messages)
	if err != nil || orders != 0 || messages != 0 {
		t.Errorf("%d orders and %d messages, %v", orders, messages, err)
	}
	if _, err := shop.place(t.Context(), 100); err != nil {
		t.Error(err)
	}
	err = shop.pool.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM shop.orders), (SELECT count(*) FROM shop_sixfold.outbox)").Scan(&orders, &messages)
	if err != nil || orders != 1 || messages != 1 {
		t.Errorf("%d orders and %d messages, %v; want one each", orders, messages, err)
	}
}
