package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// text is what a message of the tests says.
func text(env *sixfold.Envelope) string {
	var m message
	_ = json.Unmarshal(env.Body, &m)
	return m.Text
}

// sequence is a key's number in the writers' own table: whoever publishes draws it under a row lock, so that it is the
// order in which the key's transactions happened.
func (w *world) sequence(keys int) {
	w.exec("CREATE TABLE key (k int PRIMARY KEY, n int NOT NULL DEFAULT 0)")
	w.exec("INSERT INTO key SELECT g FROM generate_series(0, $1) g", keys-1)
}

// draw publishes the next message of a key in tx.
func (w *world) draw(ctx context.Context, tx pgx.Tx, key int) error {
	var n int
	if err := tx.QueryRow(ctx, "UPDATE key SET n = n + 1 WHERE k = $1 RETURNING n", key).Scan(&n); err != nil {
		return err
	}
	_, err := w.box.Publish(ctx, sqltx.Pgx(tx), message{fmt.Sprint(key), fmt.Sprint(n)})
	return err
}

// checkOrder expects, of each key, the numbers 1, 2, 3 … up to what the table says, each once.
func (w *world) checkOrder() {
	w.Helper()
	rows, err := w.pool.Query(w.Context(), "SELECT k, n FROM key")
	if err != nil {
		w.Fatal(err)
	}
	want, total := map[string]int{}, 0
	for rows.Next() {
		var k, n int
		if err := rows.Scan(&k, &n); err != nil {
			w.Fatal(err)
		}
		want[fmt.Sprint(k)] = n
		total += n
	}
	if rows.Err() != nil {
		w.Fatal(rows.Err())
	}
	w.untilCount(total)
	w.poll("all rows are settled", func() bool { return w.count(rowsLeft) == 0 })
	got := map[string][]string{}
	for _, env := range w.all() {
		got[env.Key] = append(got[env.Key], text(&env))
	}
	for k, n := range want {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprint(i+1))
		}
		if !slices.Equal(got[k], all) {
			w.Errorf("key %s: %s", k, got[k])
		}
	}
}

// Four relays, which come and go, and sixteen writers on fifty keys, a tenth rolled back, some held open: everything
// arrives once and in order, since all stops are planned.
// guarantees: R1, R2, R3, R4, R5, K1 [ParallelRelayKeepsOrder] [LateCommitNotSkipped] [LookUpAfterRead] [SweepLeavesGap]
func TestParallelRelaysKeepOrder(t *testing.T) {
	w := newWorld(t, nil)
	const keys, writers, each = 50, 16, 120
	w.sequence(keys)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var mu sync.Mutex
	late := 0
	o := outbox.RelayOptions{Lease: 10 * time.Second, Batch: 50, Sweep: 100 * time.Millisecond, Hooks: outbox.Hooks{Read: func(_ string, _, l int) {
		mu.Lock()
		defer mu.Unlock()
		late += l
	}}}
	// On a busy machine relays may begin after all is written, and then nothing is late.
	working := make(chan struct{})
	var once sync.Once
	for range 3 {
		r := o
		r.Hooks.LeaseGained = func(string, []outbox.Lease) { once.Do(func() { close(working) }) }
		w.relay(r)
	}
	select {
	case <-working:
	case <-t.Context().Done():
	}
	comes := make(chan struct{})
	go func() { // the fourth comes and goes
		defer close(comes)
		gained := make(chan struct{}, 1)
		fourth := o
		fourth.Hooks.LeaseGained = func(string, []outbox.Lease) {
			select {
			case gained <- struct{}{}:
			default:
			}
		}
		for range 3 {
			stop := w.relay(fourth)
			select {
			case <-gained: // its share, or a part of it
			case <-t.Context().Done():
			}
			stop()
			select { // what it gained as it stopped
			case <-gained:
			default:
			}
		}
	}()
	var wg sync.WaitGroup
	errRollback := errors.New("rolled back")
	for i := range writers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			for range each {
				err := w.in(func(tx pgx.Tx) error {
					ks := map[int]bool{}
					for range 1 + rnd.IntN(3) {
						ks[rnd.IntN(keys)] = true
					}
					for _, k := range slices.Sorted(maps.Keys(ks)) { // in one order, so that they do not deadlock
						if err := w.draw(t.Context(), tx, k); err != nil {
							return err
						}
					}
					if rnd.IntN(10) == 0 { // hold it, so that others commit before
						if _, err := tx.Exec(t.Context(), "SELECT pg_sleep(0.03)"); err != nil {
							return err
						}
					}
					if rnd.IntN(10) == 0 {
						return errRollback
					}
					return nil
				})
				if err != nil && !errors.Is(err, errRollback) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	<-comes
	w.checkOrder()
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%d rows were found late", late)
	if late < 3 {
		t.Error("hardly any row was committed late, so that this test shows nothing")
	}
}

// A transaction of somebody else's, however long, and one that publishes and stays open, hold nobody else back; what the
// latter wrote comes when it commits. guarantees: R3, R8 [LongTxDoesNotStall] [LateCommitNotSkipped]
func TestLongTransactionsHoldNobodyBack(t *testing.T) {
	w := newWorld(t, nil)
	w.exec("CREATE TABLE other (n int)")
	foreign, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := foreign.Exec(t.Context(), "INSERT INTO other VALUES (1)"); err != nil { // with an xid
		t.Fatal(err)
	}
	long, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = long.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := w.box.Publish(t.Context(), sqltx.Pgx(long), message{"late", "late"}); err != nil {
		t.Fatal(err)
	}
	w.relay(outbox.RelayOptions{Sweep: time.Hour})
	for i := range 500 {
		if i%10 == 9 {
			_ = w.in(func(tx pgx.Tx) error { // a gap that is never filled
				_, err := w.box.Publish(t.Context(), sqltx.Pgx(tx), message{"k", "never"})
				return errors.Join(err, errors.New("roll back"))
			})
			continue
		}
		w.publish(message{"k", fmt.Sprint(i)})
	}
	w.untilCount(450)
	if err := long.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.untilCount(451)
	w.poll("all rows are settled", func() bool { return w.count(rowsLeft) == 0 })
	last := w.all()[450]
	if len(w.all()) != 451 || text(&last) != "late" {
		t.Errorf("%d, the last is %s", len(w.all()), text(&last))
	}
}

// A prepared transaction fills its gap whenever it is committed, although its session, and its name among the locks, are
// gone. guarantees: R3 [GapClosedTooEarly]
func TestPreparedTransactionFillsItsGap(t *testing.T) {
	w := newWorld(t, nil)
	w.relay(outbox.RelayOptions{Sweep: time.Hour})
	conn, err := w.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	exec := func(q string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // of a test that failed: it would keep the database from being dropped
		for i := range 2 {
			_, _ = w.super.Exec(context.Background(), fmt.Sprintf("ROLLBACK PREPARED 'p%d'", i))
		}
	})
	for i, when := range []string{"before the gap is seen", "after it"} {
		exec("BEGIN")
		exec("SELECT sixfold.publish('messages', 'test.message', '{\"Text\":\"prepared\"}'::bytea, 'k')")
		pub := func(what string) {
			w.publish(message{"x", what})
			w.until(what, func(taken []sixfold.Envelope) bool {
				return slices.ContainsFunc(taken, func(env sixfold.Envelope) bool { return text(&env) == what })
			})
		}
		name := fmt.Sprintf("'p%d'", i)
		if i == 0 {
			exec("PREPARE TRANSACTION " + name)
			pub("a0")
		} else {
			for start, j := time.Now(), 0; time.Since(start) < 100*time.Millisecond; j++ { // the lock list is taken now and then
				pub(fmt.Sprint("b", j))
			}
			exec("PREPARE TRANSACTION " + name)
		}
		for j := range 30 { // many look-ups while it is prepared
			pub(fmt.Sprintf("%s %d", when, j))
		}
		exec("COMMIT PREPARED " + name)
		w.until("the prepared one "+when, func(taken []sixfold.Envelope) bool {
			n := 0
			for _, env := range taken {
				if text(&env) == "prepared" {
					n++
				}
			}
			return n == i+1
		})
	}
}

// A restart of the server gives a prepared transaction another name among the locks. guarantees: R3 [GapClosedTooEarly]
func TestPreparedTransactionThroughARestart(t *testing.T) {
	server := servers.PrivatePostgres(t, nil)
	w := newWorldOn(t, server, nil)
	w.relay(outbox.RelayOptions{Lease: time.Minute, Sweep: time.Hour})
	conn, err := pgx.Connect(t.Context(), w.as.Application)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, q := range []string{"BEGIN", "SELECT sixfold.publish('messages', 'test.message', '{\"Text\":\"prepared\"}'::bytea, 'k')"} {
		if _, err := conn.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	some := func() {
		t.Helper()
		for start := time.Now(); time.Since(start) < 200*time.Millisecond; n++ { // the lock list is taken now and then
			w.publish(message{"x", fmt.Sprint(n)})
			w.untilCount(n + 1)
		}
	}
	some()
	if _, err := conn.Exec(t.Context(), "PREPARE TRANSACTION 'p'"); err != nil {
		t.Fatal(err)
	}
	w.poll("all rows are settled", func() bool { return w.count(rowsLeft) == 0 }) // else one comes again after the restart
	server.Restart(t, servers.Fast)
	for _, p := range []*pgxpool.Pool{w.super, w.pool} {
		w.poll("the server is back", func() bool { return p.Ping(t.Context()) == nil })
	}
	some()
	w.exec("COMMIT PREPARED 'p'")
	w.untilCount(n + 1)
	if last := w.all()[n]; text(&last) != "prepared" {
		t.Errorf("the last is %s", text(&last))
	}
}

// After a sequence was set back, as by a restore, rows come below the cursor; the sweep finds them.
// guarantees: R3 [RestoreLowerXid]
func TestSequenceReset(t *testing.T) {
	w := newWorld(t, nil)
	w.relay(outbox.RelayOptions{Sweep: 100 * time.Millisecond})
	w.exec("ALTER TABLE sixfold.outbox ALTER COLUMN seq RESTART WITH 1000")
	for i := range 10 {
		w.publish(message{"k", fmt.Sprint("before ", i)})
	}
	w.untilCount(10)
	w.exec("ALTER TABLE sixfold.outbox ALTER COLUMN seq RESTART WITH 5")
	for i := range 10 {
		w.publish(message{"k", fmt.Sprint("after ", i)})
	}
	w.untilCount(20)
	w.poll("all rows are settled", func() bool { return w.count(rowsLeft) == 0 })
	seen := map[string]int{}
	for _, env := range w.all() {
		seen[text(&env)]++
	}
	if len(seen) != 20 || len(w.all()) != 20 {
		t.Errorf("%v", seen)
	}
}

// The partitions of a relay that died are taken over when its lease ends, and only then; a relay that is taken over
// settles nothing. guarantees: R5, R7 [StaleSettleRefused]
func TestTakeOverFromADeadRelay(t *testing.T) {
	w := newWorld(t, nil)
	leases, queue := w.relays.Outbox().Leases(), w.relays.Outbox().Queue(outbox.ToBroker)
	const lease = 3 * time.Second
	dead, start := sixfold.NewID(), time.Now()
	if err := leases.Join(t.Context(), "", dead, lease); err != nil {
		t.Fatal(err)
	}
	if got, err := leases.Take(t.Context(), "", dead, 64, outbox.ToBroker, false); err != nil || len(got) != 64 {
		t.Fatal(len(got), err)
	}
	w.publish(message{"k", "1"})
	w.relay(outbox.RelayOptions{Lease: 2 * time.Second}) // it looks for free partitions in each half second
	w.untilCount(1)
	if took := time.Since(start); took < lease {
		t.Errorf("it took %v", took)
	}
	w.poll("the row is settled", func() bool { return w.count(rowsLeft) == 0 })
	if _, err := queue.Settle(t.Context(), dead, []int64{1}); !errors.Is(err, outbox.ErrFenced) {
		t.Error(err)
	}
	if _, _, err := leases.Beat(t.Context(), "", dead, time.Minute, 0); !errors.Is(err, outbox.ErrFenced) {
		t.Error(err)
	}
}

// A relay lives through lost connections, also those of an answer that never came. guarantees: R1, R2
func TestRelayThroughLostConnections(t *testing.T) {
	w := newWorld(t, nil)
	w.sequence(5)
	pool := connect(t, w.as.Application) // the writers', which are not cut
	w.relay(outbox.RelayOptions{})
	over := make(chan struct{})
	var cuts sync.WaitGroup
	cuts.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(100 * time.Millisecond):
			}
			_, _ = w.super.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND query ~ '(settle|lease|read|beat|node)' AND query !~ 'terminate'")
		}
	})
	for i := range 300 {
		for try := 0; ; try++ {
			err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return w.draw(t.Context(), tx, i%5) })
			if err == nil {
				break
			}
			if try > 20 || !strings.Contains(err.Error(), "terminat") && !strings.Contains(err.Error(), "closed") {
				t.Fatal(err)
			}
		}
	}
	close(over)
	cuts.Wait()
	w.checkOrder()
}

// Kept rows move to delivered, and are purged when their time is over. [PruneIsPolite]
func TestDeliveredRowsAreKept(t *testing.T) {
	w := newWorld(t, &storeOptions)
	w.relay(outbox.RelayOptions{})
	for i := range 25 {
		w.publish(message{"k", fmt.Sprint(i)})
	}
	w.poll("all rows are delivered", func() bool { return w.count("SELECT count(*) FROM sixfold.delivered") == 25 && w.count(rowsLeft) == 0 })
	keeper := w.relays.Outbox().Keeper()
	if n, err := keeper.Purge(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("%d, %v", n, err)
	}
	w.exec("UPDATE sixfold.delivered SET delivered_at = delivered_at - interval '2 hours'")
	for _, want := range []int{10, 10, 5, 0} {
		if n, err := keeper.Purge(t.Context(), 10); err != nil || n != want {
			t.Errorf("%d, %v, want %d", n, err, want)
		}
	}
}

// The tables tell what waits, for how long and for whom.
func TestStats(t *testing.T) {
	w := newWorld(t, nil)
	w.publish(message{"k", "1"})
	w.publish(aside{"k", "1"})
	reader := w.store(connect(t, w.as.Reader))
	stats, err := reader.Outbox().Keeper().Stats(t.Context(), outbox.ToLocal)
	if err != nil || stats.Pending != 1 || len(stats.Classes) != 1 || stats.Classes[0].Class != "helper" || stats.Classes[0].Consumed {
		t.Errorf("%+v, %v", stats, err)
	}
	w.relay(outbox.RelayOptions{})
	w.untilCount(1)
	w.poll("the row is settled", func() bool { return w.count(rowsLeft) == 0 })
	stats, err = reader.Outbox().Keeper().Stats(t.Context(), outbox.ToBroker)
	if err != nil || stats.Pending != 0 || len(stats.Classes) != 1 || !stats.Classes[0].Consumed || stats.Classes[0].Nodes != 1 || len(stats.Classes[0].Partitions) != 64 {
		t.Errorf("%+v, %v", stats, err)
	}
}
