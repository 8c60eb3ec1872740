package parking

import (
	"context"
	"database/sql"
	"fmt"
	"hash/fnv"
	"sync"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
)

// quick retries soon.
func quick(attempts int) sixfold.Retry {
	return sixfold.Retry{MaxAttempts: attempts, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}
}

// failures answers how often a message fails before it succeeds: some never, some once, some five times.
func failures(m step) int {
	h := fnv.New32a()
	fmt.Fprint(h, m.Key, m.N)
	switch h.Sum32() % 10 {
	case 0, 1:
		return 1
	case 2:
		return 5
	}
	return 0
}

// Through failures and retries the effects of a key commit in its order, and once, on every transport: one by one and
// in batches. guarantees: K2, I1
func TestRetriesKeepTheOrderOfAKey(t *testing.T) {
	const keys, each = 10, 12
	for _, rd := range roads {
		t.Run(rd.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *world) {
				r := rd.open(w, "c")
				box := w.box()
				var mu sync.Mutex
				tries := map[step]int{}
				try := func(ctx context.Context, tx *sql.Tx, m step) error {
					if err := effect(ctx, tx, m); err != nil {
						return err
					}
					mu.Lock()
					defer mu.Unlock()
					if tries[m]++; tries[m] <= failures(m) {
						return errNotYet
					}
					return nil
				}
				c := w.consume(r.to, r.sub, bus.Options{Retry: quick(10)}, inbox.OnBatch(box, func(ctx context.Context, tx *sql.Tx, ms []step) error {
					for _, m := range ms {
						if err := try(ctx, tx, m); err != nil {
							return err
						}
					}
					return nil
				}))
				w.poll("the consumer runs", func() bool { return c.Health().State == bus.Running })
				for n := 1; n <= each; n++ {
					for k := range keys {
						r.publish(step{fmt.Sprint("key", k), n})
					}
				}
				w.poll("all effects", func() bool { return w.count("SELECT count(*) FROM effect") >= keys*each })
				w.poll("no lines", func() bool { return w.count("SELECT count(*) FROM "+w.table("line")) == 0 })
				c.stop()
				w.wantOnceInOrder("c", keys, each)
				for _, table := range []string{"parked", "line", "attempt"} {
					if n := w.count("SELECT count(*) FROM " + w.table(table)); n != 0 {
						t.Errorf("%d rows are left in %s", n, table)
					}
				}
			})
		})
	}
}
