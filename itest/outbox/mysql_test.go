package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// maria is a MariaDB server with tables of a shop beside those of a store: a counter for each key, which says how many
// messages of it were committed, every try, and effects without a constraint.
type maria struct {
	*testing.T
	server *servers.MariaDBServer
	db     *sql.DB
	lib    sqltx.DB[*sql.Tx]
	st     *store.Store
	box    *outbox.Outbox

	mu    sync.Mutex
	taken map[string][]int // numbers by key as the broker took them
}

func newMaria(t *testing.T) *maria {
	w := &maria{T: t, server: servers.PrivateMariaDB(t, nil), taken: map[string][]int{}}
	var err error
	if w.db, err = sql.Open("mysql", w.server.Database(t)+"?tx_isolation=%27READ-COMMITTED%27&interpolateParams=true"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.db.Close() })
	w.lib = sqltx.StdDB(w.db)
	if w.st, err = store.MySQL(w.lib, nil); err == nil {
		err = w.st.Migrate(t.Context())
	}
	if err == nil {
		w.box, err = outbox.New(w.st.Outbox(), nil, outbox.To("messages", message{}), outbox.ToConsumer("helper", aside{}))
	}
	for _, q := range []string{"CREATE TABLE agg (k varbinary(20) PRIMARY KEY, n int NOT NULL)", "CREATE TABLE tries (id varbinary(36) PRIMARY KEY)",
		"CREATE TABLE effect (i bigint AUTO_INCREMENT PRIMARY KEY, k varbinary(20), n int)"} {
		if err == nil {
			_, err = w.db.ExecContext(t.Context(), q)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *maria) ints(q string, args ...any) (out []int) {
	w.Helper()
	rows, err := w.db.QueryContext(w.Context(), q, args...)
	if err != nil {
		w.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			w.Fatal(err)
		}
		out = append(out, n)
	}
	if err := rows.Err(); err != nil {
		w.Fatal(err)
	}
	return out
}

var errBack = errors.New("roll back")

// write publishes the next number of a key to the broker and to the local consumer, in a transaction that lasts a while
// now and then, so that rows commit late. It answers what became of the try.
func (w *maria) write(ctx context.Context, r *rand.Rand, key, try string) error {
	back, slow := r.IntN(10) == 0, r.IntN(4) == 0
	return outbox.Do(ctx, w.box, w.lib, func(ctx context.Context, x *sql.Tx, u *outbox.Unit) error {
		tx, n := sqltx.Std(x), 0
		_, err := x.ExecContext(ctx, "UPDATE agg SET n = n + 1 WHERE k = ?", key)
		if err == nil {
			err = x.QueryRowContext(ctx, "SELECT n FROM agg WHERE k = ?", key).Scan(&n)
		}
		if err == nil {
			_, err = w.box.PublishAll(ctx, tx, outbox.Of(message{key, strconv.Itoa(n)}))
		}
		if err == nil && slow {
			_, err = x.ExecContext(ctx, "DO SLEEP(?)", float64(r.IntN(60))/1000)
		}
		if err == nil {
			_, err = x.ExecContext(ctx, "INSERT INTO tries (id) VALUES (?)", try)
		}
		u.Publish(aside{key, strconv.Itoa(n)})
		if err == nil && back {
			err = errBack
		}
		return err
	})
}

// start runs a relay and a local consumer with a lease until stop.
func (w *maria) start(broker *memory.Transport, lease time.Duration) (stop func()) {
	ctx, end := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(r sixfold.Runnable) { running.Go(func() { _ = r.Run(ctx) }) } // a drain may be cut by a killed server
	relay, err := outbox.NewRelay(w.st.Outbox(), broker, &outbox.RelayOptions{Logger: quiet(), Lease: lease, Poll: 20 * time.Millisecond, DrainTimeout: time.Second})
	if err != nil {
		w.Fatal(err)
	}
	run(relay)
	local, err := outbox.NewLocal(w.st.Outbox(), w.lib, &outbox.LocalOptions{Logger: quiet(), Lease: lease, Poll: 20 * time.Millisecond})
	if err != nil {
		w.Fatal(err)
	}
	in, err := inbox.New(w.lib, w.st.Inbox(), &inbox.Options{Logger: quiet()})
	if err != nil {
		w.Fatal(err)
	}
	helper, err := bus.NewConsumer(local, bus.Subscription{Group: "helper", Ordered: true}, &bus.Options{Inbox: in, Logger: quiet(), Concurrency: 4, ParkingPoll: 50 * time.Millisecond},
		inbox.On(in, func(ctx context.Context, tx *sql.Tx, m aside) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO effect (k, n) VALUES (?, ?)", m.Key, m.Text)
			return err
		}))
	if err != nil {
		w.Fatal(err)
	}
	run(helper)
	return sync.OnceFunc(func() { end(); running.Wait() })
}

// On MariaDB, with eight writers whose rows commit late, roll back and hold each other up, two relays and two local consumers
// that come and go, and a server that is killed twice: nothing is lost, nothing is invented, the first messages of a key
// come in order, and each has its effect once. What a writer was told of a commit is true.
// guarantees: O1, O2, O3, R1, R3, R4, R5, R7, I1, K1, K2 [LateCommitNotSkipped]
func TestMariaDBUnderKills(t *testing.T) {
	w := newMaria(t)
	keys, per, kills := 12, 120, 2
	if testing.Short() {
		per, kills = 30, 1
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for k := range keys {
		if _, err := w.db.ExecContext(t.Context(), "INSERT INTO agg (k, n) VALUES (?, 0)", fmt.Sprint("k", k)); err != nil {
			t.Fatal(err)
		}
	}
	broker := memory.New(&memory.Options{Topics: []string{"messages"}})
	defer broker.Close(context.Background())
	broker.Tap(func(_ string, env *sixfold.Envelope) {
		n, _ := strconv.Atoi(text(env))
		w.mu.Lock()
		defer w.mu.Unlock()
		w.taken[env.Key] = append(w.taken[env.Key], n)
	})
	const lease = 2 * time.Second
	stops := []func(){w.start(broker, lease), w.start(broker, lease)}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()

	type told struct {
		id  string
		err error
	}
	answers := make(chan told)
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range per {
				try := sixfold.NewID()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				err := w.write(ctx, r, fmt.Sprint("k", r.IntN(keys)), try)
				cancel()
				for err != nil && w.db.PingContext(t.Context()) != nil { // while the server is away
				}
				answers <- told{try, err}
			}
		})
	}
	go func() { writers.Wait(); close(answers) }()
	var restarts sync.WaitGroup
	var one sync.Mutex // at a time
	var all []told
	for a := range answers {
		all = append(all, a)
		switch len(all) {
		case 8 * per / 5: // one of two goes away, another one comes
			stops[0]()
			stops[0] = w.start(broker, lease)
		case 8 * per / 3, 8 * per * 2 / 3:
			if kills--; kills >= 0 {
				restarts.Go(func() {
					one.Lock()
					defer one.Unlock()
					w.server.Restart(t, servers.Kill)
				})
			}
		}
	}
	restarts.Wait() // the last one may have begun late
	drained(t, func(q string) int { return w.ints(q)[0] })

	for k := range keys {
		key := fmt.Sprint("k", k)
		committed := w.ints("SELECT n FROM agg WHERE k = ?", key)[0]
		effects := w.ints("SELECT n FROM effect WHERE k = ? ORDER BY i", key)
		w.mu.Lock()
		first := 0
		for _, n := range w.taken[key] { // "1 2 3 2 3 4" is in order
			if n > first+1 {
				t.Errorf("key %s: %d was sent after %d, of %d that were committed", key, n, first, committed)
			}
			first = max(first, n)
		}
		w.mu.Unlock()
		if first != committed || len(effects) != committed {
			t.Errorf("key %s: %d were committed, the highest sent is %d, and %d had an effect", key, committed, first, len(effects))
		}
		for i, n := range effects {
			if n != i+1 {
				t.Errorf("key %s: effects %v", key, effects)
				break
			}
		}
	}
	unknown, failures := 0, 0
	for _, a := range all {
		there := w.ints("SELECT count(*) FROM tries WHERE id = ?", a.id)[0] == 1
		switch {
		case errors.Is(a.err, sqltx.ErrCommitUnknown):
			unknown++
		case there != (a.err == nil):
			t.Errorf("a writer was told %v, and its transaction is there: %t", a.err, there)
		case a.err != nil && !errors.Is(a.err, errBack):
			failures++
		}
	}
	t.Logf("%d transactions, %d failed, %d with an outcome that nobody knew", len(all), failures, unknown)
}

// A transaction that has published and stays open holds nobody up, and its message comes when it commits. guarantees: R3, R8 [LongTxDoesNotStall]
func TestMariaDBLongTransaction(t *testing.T) {
	w := newMaria(t)
	broker := memory.New(&memory.Options{Topics: []string{"messages"}})
	defer broker.Close(context.Background())
	came := make(chan string, 1000)
	broker.Tap(func(_ string, env *sixfold.Envelope) { came <- env.Key + text(env) })
	next := func() string {
		select {
		case s := <-came:
			return s
		case <-time.After(time.Minute):
			t.Fatal("nothing came")
			return ""
		}
	}
	defer w.start(broker, time.Minute)() // nothing is to come twice
	publish := func(tx *sql.Tx, m message) {
		t.Helper()
		if _, err := w.box.PublishAll(t.Context(), sqltx.Std(tx), outbox.Of(m)); err != nil {
			t.Fatal(err)
		}
	}
	long, err := w.db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer long.Rollback()
	publish(long, message{"long", "1"})
	for i := range 30 {
		tx, err := w.db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		publish(tx, message{"k", strconv.Itoa(i)})
		if i%3 == 2 {
			err = tx.Rollback()
		} else if err = tx.Commit(); err == nil {
			if got := next(); got != "k"+strconv.Itoa(i) {
				t.Fatalf("%s came instead of k%d", got, i)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := long.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "long1" {
		t.Errorf("%s came instead of what was committed late", got)
	}
}
