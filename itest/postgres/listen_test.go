package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/postgres"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// far is a poll that no test lives to see.
const far = time.Hour

// A relay of another process, which has stopped looking, sends at once what was committed. // guarantees: R7
func TestListenWakesTheRelayOfAnotherProcess(t *testing.T) {
	as := database(t, nil)
	shop := start(t, as, as.Application, nil)
	var reads lastRead
	relaying := start(t, as, as.Relay, nil, func(c *pgxpool.Config) { c.ConnConfig.Tracer = &reads })
	came := relaying.relay(outbox.RelayOptions{Poll: far})
	shop.listen(shop.pool, postgres.ListenOptions{})
	relaying.listen(relaying.pool, postgres.ListenOptions{})

	publish := map[string]func(key string){
		"Do": func(key string) { shop.do(message{Key: key}) },
		"Publish in a transaction of the caller's own": func(key string) {
			err := pgx.BeginFunc(t.Context(), shop.pool, func(tx pgx.Tx) error {
				_, err := shop.box.Publish(t.Context(), sqltx.Pgx(tx), message{Key: key})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		},
	}
	for how, publish := range publish {
		var took []time.Duration
		quick := 0
		for len(took) < 4 || quick < 2 && len(took) < 20 { // on a busy machine what is woken may come as late as a look
			// Looks become rarer, twice as rare each time: the next one of its own is 800 ms away.
			relaying.until("the relay looks seldom", func() bool { return reads.since() > 1200*time.Millisecond })
			publish("k")
			began := time.Now()
			select {
			case <-came:
			case <-time.After(time.Minute):
				t.Fatalf("%s: nothing came", how)
			}
			took = append(took, time.Since(began).Round(10*time.Microsecond))
			if took[len(took)-1] <= 600*time.Millisecond {
				quick++
			}
		}
		slices.Sort(took)
		t.Logf("%s: from the commit to the broker, sorted: %v", how, took)
		if quick < 2 {
			t.Errorf("%s: it took %v; nobody woke the relay", how, took)
		}
	}
}

// A scheduler of another process, which sleeps for an hour, learns at once of a message that is due before.
func TestListenWakesTheSchedulerOfAnotherProcess(t *testing.T) { // guarantees: C3
	as := database(t, nil)
	shop, twin := start(t, as, as.Application, nil), start(t, as, as.Application, nil)
	scheduler, err := schedule.New(twin.st.Schedule(), twin.box, &schedule.Options{Poll: far, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	rings, stop := twin.st.Outbox().Bell(outbox.ToBroker).Listen()
	defer stop()
	twin.run(scheduler)
	shop.listen(shop.pool, postgres.ListenOptions{})
	twin.listen(twin.pool, postgres.ListenOptions{})
	err = outbox.Do(t.Context(), shop.box, postgres.DB(shop.pool), func(_ context.Context, _ pgx.Tx, u *outbox.Unit) error {
		u.Publish(message{Key: "k"}, outbox.Delay(50*time.Millisecond))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for next(t, rings) != outbox.Now { // it was moved; before that a connection rings
	}
}

// What was published while nobody heard is found when the connection is back, since the bells are rung then.
func TestListenRingsWhenItsConnectionIsBack(t *testing.T) {
	as := database(t, nil)
	shop := start(t, as, as.Application, nil)
	other := start(t, as, as.Application, nil)
	gate := make(chan struct{}, 100) // a token lets the listener connect once
	gate <- struct{}{}
	own := open(t, as.Application, func(c *pgxpool.Config) {
		c.BeforeConnect = func(ctx context.Context, config *pgx.ConnConfig) error {
			config.RuntimeParams["application_name"] = "the other listener"
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	shop.listen(shop.pool, postgres.ListenOptions{})
	rings, stop := other.st.Outbox().Bell(outbox.ToBroker).Listen()
	defer stop()
	l := other.listen(own, postgres.ListenOptions{})
	next(t, rings) // that of the first connection
	told := tap(t, as.Application, l.Channel())

	if n := shop.count("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'the other listener'"); n != 1 {
		t.Fatalf("%d connections were cut", n)
	}
	shop.until("the listener notices", func() bool { return l.Err() != nil })
	if err := l.Err(); !strings.Contains(err.Error(), "the next poll") {
		t.Error(err)
	}
	shop.do(message{Key: "k"})
	if n := next(t, told); n.Payload != "outbox" {
		t.Errorf("told %q", n.Payload)
	}
	select {
	case r := <-rings:
		t.Fatalf("a deaf listener rang %v", r)
	default:
	}
	gate <- struct{}{}
	if r := next(t, rings); r != outbox.Heard {
		t.Errorf("rang %v", r)
	}
	shop.until("the listener hears", func() bool { return l.Err() == nil })
	shop.do(message{Key: "k"})
	if r := next(t, rings); r != outbox.Heard {
		t.Errorf("rang %v", r)
	}
}

// A thousand transactions cost few notifications, and none goes round between processes.
func TestListenTellsSeldom(t *testing.T) {
	as := database(t, nil)
	shop, other := start(t, as, as.Application, nil), start(t, as, as.Application, nil)
	l := shop.listen(shop.pool, postgres.ListenOptions{})
	other.listen(other.pool, postgres.ListenOptions{})
	var mu sync.Mutex
	var count int
	told := tap(t, as.Application, l.Channel())
	marks := make(chan string, 10)
	go func() {
		for n := range told {
			if strings.HasPrefix(n.Payload, "mark") {
				marks <- n.Payload
				continue
			}
			mu.Lock()
			count++
			mu.Unlock()
		}
	}()
	// Everything that was told before is counted once the mark has come.
	counted := func(mark string) int {
		if _, err := shop.pool.Exec(t.Context(), "SELECT pg_notify($1, $2)", l.Channel(), mark); err != nil {
			t.Fatal(err)
		}
		if got := next(t, marks); got != mark {
			t.Fatalf("%q came for %q", got, mark)
		}
		mu.Lock()
		defer mu.Unlock()
		return count
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 250 {
				shop.do(message{Key: "k"})
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	shop.until("what was committed last is told", func() bool { return counted("mark 1") > 0 })
	// Both processes have heard of it, and of both marks; they have nothing to tell on.
	other.do(message{Key: "k"})
	shop.until("the other one has told", func() bool { return counted("mark 2") > 1 })
	n := counted("mark 3")
	most := int(took/(10*time.Millisecond)) + 10
	t.Logf("1,000 transactions in %v: %d notifications", took.Round(time.Millisecond), n)
	if n > most {
		t.Errorf("%d notifications in %v, want at most %d", n, took, most)
	}
}

// Without the listener everything works, at the pace of the poll.
func TestListenImpossibleCostsTimeOnly(t *testing.T) { // guarantees: R1
	as := database(t, nil)
	shop := start(t, as, as.All, nil) // which publishes and relays
	nowhere, err := pgx.ParseConfig("host=127.0.0.1 port=1 user=u password=canary sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	l, err := postgres.Listen(shop.pool, shop.st, &postgres.ListenOptions{Direct: nowhere, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	stop := shop.run(l)
	shop.until("it has tried", func() bool { return l.Err() != nil && strings.Contains(l.Err().Error(), "127.0.0.1") })
	if strings.Contains(l.Err().Error(), "canary") {
		t.Error("the error shows the password")
	}
	came := shop.relay(outbox.RelayOptions{Poll: 50 * time.Millisecond})
	other := start(t, as, as.Application, nil)
	for range 3 {
		other.do(message{Key: "k"})
		next(t, came)
	}
	stop()
}

// A channel belongs to one set of tables, whatever they are called, and a notification to one table.
func TestListenKeepsTablesApart(t *testing.T) { // [OddTableNames]
	as := database(t, nil)
	long := strings.Repeat("ö", 31)
	var all []*process
	var names []string
	for _, o := range []store.Options{{}, {Prefix: "sixfold"}, {Schema: "My Order"}, {Schema: "My", Prefix: "Order "}, {Schema: long}, {Schema: long, Prefix: "x"}} {
		if err := as.Migrate(t.Context(), &o); err != nil {
			t.Fatal(err)
		}
		p := start(t, as, as.Application, &o)
		l := p.listen(p.pool, postgres.ListenOptions{})
		if len(l.Channel()) > 63 || slices.Contains(names, l.Channel()) {
			t.Errorf("channel %q of %q", l.Channel(), names)
		}
		names = append(names, l.Channel())
		all = append(all, p)
	}
	type bells struct{ outbox, local <-chan outbox.Ring }
	var heard []bells
	for i := range all {
		twin := start(t, as, as.Application, &[]store.Options{{}, {Prefix: "sixfold"}, {Schema: "My Order"}, {Schema: "My", Prefix: "Order "}, {Schema: long}, {Schema: long, Prefix: "x"}}[i])
		twin.listen(twin.pool, postgres.ListenOptions{})
		broker, stop := twin.st.Outbox().Bell(outbox.ToBroker).Listen()
		defer stop()
		local, stop2 := twin.st.Outbox().Bell(outbox.ToLocal).Listen()
		defer stop2()
		heard = append(heard, bells{broker, local})
	}
	for i, p := range all {
		p.do(message{Key: "k"})
		next(t, heard[i].outbox)
		if _, err := p.pool.Exec(t.Context(), "SELECT pg_notify($1, 'local')", names[i]); err != nil {
			t.Fatal(err)
		}
		next(t, heard[i].local)
		for j := range heard {
			select {
			case <-heard[j].outbox:
				t.Errorf("%d heard of %d's outbox", j, i)
			case <-heard[j].local:
				t.Errorf("%d heard of %d's local table", j, i)
			default:
			}
		}
	}
	// Whoever says nothing means both.
	if _, err := all[0].pool.Exec(t.Context(), "SELECT pg_notify($1, '')", names[0]); err != nil {
		t.Fatal(err)
	}
	next(t, heard[0].outbox)
	next(t, heard[0].local)
}

// A listener that ends tells what is left to tell.
func TestListenTellsAtItsEnd(t *testing.T) {
	as := database(t, nil)
	shop := start(t, as, as.Application, nil)
	l, err := postgres.Listen(shop.pool, shop.st, &postgres.ListenOptions{Every: time.Second, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	stop := shop.run(l)
	shop.until("the listener hears", func() bool { return l.Err() == nil })
	told := tap(t, as.Application, l.Channel())
	shop.do(message{Key: "1"})
	next(t, told)
	shop.do(message{Key: "2"}) // within a second of the first
	stop()
	next(t, told)
	if l.Err() == nil {
		t.Error("it has ended, and claims to hear")
	}
	if err := l.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Error(err)
	}
}

func TestListenRefusesWhatCannotBe(t *testing.T) {
	as := database(t, nil)
	p := start(t, as, as.Application, nil)
	lite, err := store.SQLite(sqltx.DB[int]{Run: func(context.Context, func(int) error) error { return nil }, Tx: func(int) sqltx.Tx { return sqltx.Tx{} }}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]func() (*postgres.Listener, error){
		"the pool is nil":   func() (*postgres.Listener, error) { return postgres.Listen(nil, p.st, nil) },
		"the store is nil":  func() (*postgres.Listener, error) { return postgres.Listen(p.pool, nil, nil) },
		"not of PostgreSQL": func() (*postgres.Listener, error) { return postgres.Listen(p.pool, lite, nil) },
		"Every 2s": func() (*postgres.Listener, error) {
			return postgres.Listen(p.pool, p.st, &postgres.ListenOptions{Every: 2 * time.Second})
		},
		"Check 1ms: it is below": func() (*postgres.Listener, error) {
			return postgres.Listen(p.pool, p.st, &postgres.ListenOptions{Check: time.Millisecond})
		},
		"Every -1ns: it is outsi": func() (*postgres.Listener, error) {
			return postgres.Listen(nil, nil, &postgres.ListenOptions{Every: -1})
		},
	} {
		if l, err := f(); l != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// relay starts one on a broker in the process; what it sends comes as tokens.
func (p *process) relay(o outbox.RelayOptions) (came <-chan struct{}) {
	p.Helper()
	broker := memory.New(&memory.Options{Topics: []string{"messages"}})
	p.Cleanup(func() { _ = broker.Close(context.Background()) })
	taken := make(chan struct{}, 10_000)
	broker.Tap(func(string, *sixfold.Envelope) { taken <- struct{}{} })
	o.Logger = quiet()
	relay, err := outbox.NewRelay(p.st.Outbox(), broker, &o)
	if err != nil {
		p.Fatal(err)
	}
	p.run(relay)
	return taken
}

// next is the next value, or the end of the test.
func next[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v, ok := <-c:
		if !ok {
			t.Fatal("nothing more comes")
		}
		return v
	case <-time.After(time.Minute):
		t.Fatal("nothing came")
	}
	return v
}

// tap hears a channel past the listeners.
func tap(t *testing.T, dsn, channel string) <-chan *pgconn.Notification {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "LISTEN "+pgx.Identifier{channel}.Sanitize()); err != nil {
		t.Fatal(err)
	}
	out := make(chan *pgconn.Notification, 10_000)
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(out)
		for {
			n, err := conn.WaitForNotification(ctx)
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				return
			}
			out <- n
		}
	})
	t.Cleanup(func() {
		stop()
		wg.Wait()
		conn.Close(context.Background())
	})
	return out
}

// lastRead notes when a relay last looked at the outbox.
type lastRead struct {
	mu sync.Mutex
	at time.Time
}

func (r *lastRead) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	if strings.Contains(q.SQL, "outbox_read") {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.at = time.Now()
	}
	return ctx
}

func (r *lastRead) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (r *lastRead) since() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Since(r.at)
}
