package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// On SQLite, with two relays and two local consumers on one file: what is committed arrives once and in order, what is
// rolled back does not, and after a drain no number comes again. guarantees: O1, R1, R2, R4, I1, K2 [IdsNotReusedAfterDrain]
func TestSQLite(t *testing.T) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+"?_txlock=immediate&_pragma=busy_timeout(20000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	lib := sqltx.StdDB(db)
	st, err := store.SQLite(lib, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE effect (n INTEGER PRIMARY KEY AUTOINCREMENT, key text, text text)"); err != nil {
		t.Fatal(err)
	}
	box, err := outbox.New(st.Outbox(), nil, outbox.To("messages", message{}), outbox.ToConsumer("helper", aside{}))
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.New(lib, st.Inbox(), &inbox.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	broker := memory.New(&memory.Options{Topics: []string{"messages"}})
	defer broker.Close(context.Background())
	var mu sync.Mutex
	taken := map[string][]string{}
	sequences := map[string]bool{}
	broker.Tap(func(_ string, env *sixfold.Envelope) {
		mu.Lock()
		defer mu.Unlock()
		taken[env.Key] = append(taken[env.Key], text(env))
		if sequences[env.Sequence] {
			t.Errorf("sequence %s twice", env.Sequence)
		}
		sequences[env.Sequence] = true
	})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	start := func(r sixfold.Runnable) {
		running.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	defer running.Wait()
	defer stop()
	for range 2 {
		relay, err := outbox.NewRelay(st.Outbox(), broker, &outbox.RelayOptions{Logger: quiet(), Lease: 20 * time.Second, Poll: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		start(relay)
		local, err := outbox.NewLocal(st.Outbox(), lib, &outbox.LocalOptions{Logger: quiet(), Lease: 20 * time.Second, Poll: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		helper, err := bus.NewConsumer(local, bus.Subscription{Group: "helper", Ordered: true}, &bus.Options{Inbox: in, Logger: quiet(), Concurrency: 4},
			inbox.OnBatch(in, func(ctx context.Context, tx *sql.Tx, ms []aside) error {
				for _, m := range ms {
					if _, err := tx.ExecContext(ctx, "INSERT INTO effect (key, text) VALUES (?, ?)", m.Key, m.Text); err != nil {
						return err
					}
				}
				return nil
			}))
		if err != nil {
			t.Fatal(err)
		}
		start(helper)
	}
	count := func(q string) (n int) {
		if err := db.QueryRow(q).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var want []string
	for i := range 200 {
		errBack := errors.New("roll back")
		err := outbox.Do(t.Context(), box, lib, func(_ context.Context, _ *sql.Tx, u *outbox.Unit) error {
			for _, k := range []string{"a", "b"} {
				u.Publish(message{k, fmt.Sprint(i)})
				u.Publish(aside{k, fmt.Sprint(i)})
			}
			if i%7 == 3 {
				return errBack
			}
			return nil
		})
		if err != nil && !errors.Is(err, errBack) {
			t.Fatal(err)
		}
		if err == nil {
			want = append(want, fmt.Sprint(i))
		}
		if i == 100 { // a drain in the middle
			drained(t, count)
		}
	}
	drained(t, count)
	mu.Lock()
	defer mu.Unlock()
	for _, k := range []string{"a", "b"} {
		var effects []string
		rows, err := db.Query("SELECT text FROM effect WHERE key = ? ORDER BY n", k)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				t.Fatal(err)
			}
			effects = append(effects, s)
		}
		if err := rows.Close(); err != nil || !slices.Equal(effects, want) || !slices.Equal(taken[k], want) {
			t.Errorf("%v: key %s has effects %v and was sent %v", err, k, effects, taken[k])
		}
	}
}

func drained(t *testing.T, count func(string) int) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); count("SELECT (SELECT count(*) FROM sixfold_outbox) + (SELECT count(*) FROM sixfold_local)") > 0; <-tick.C {
		if time.Now().After(end) {
			t.Fatal("rows are left after three minutes")
		}
	}
}
