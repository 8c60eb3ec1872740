package deadletter

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/sqltx"
)

// fill parks dead letters of keys by hand, all at once. keys 0: none has one.
func (w *world) fill(total, keys int) {
	w.t.Helper()
	if w.my {
		w.fillMaria(total, keys)
		return
	}
	key := "NULL"
	if keys > 0 {
		key = "'k' || (g % ?2)"
	}
	args := []any{total, max(keys, 1)}
	series, hash := "generate_series(1, ?1::integer) g", "sha256(convert_to(g::text, 'UTF8'))"
	if keys == 0 {
		args = args[:1]
	} else if w.pg {
		key = "'k' || (g % ?2::integer)"
	}
	zero := "false"
	if !w.pg {
		series, hash, zero = "(WITH RECURSIVE s(g) AS (SELECT 1 UNION ALL SELECT g + 1 FROM s WHERE g < ?1) SELECT g FROM s) s", "CAST('m' || g AS BLOB)", "0"
	}
	w.exec("INSERT INTO {{parked}} (state, relay, consumer, message, digest, id, source, type, topic, key, attrs, body, attempts, reason, error, node, first_at, last_at) "+
		"SELECT 2, "+zero+", 'billing', "+hash+", "+hash+", 'id' || g, 'shop', 'orders.t' || (g % 10), 'orders', "+key+", ?"+map[bool]string{true: "3", false: "2"}[keys > 0]+", ?"+map[bool]string{true: "4", false: "3"}[keys > 0]+", 10, 'attempts', 'something failed in a long chain of errors, number ' || g, 'host/1', {{now}}, {{now}} FROM "+series,
		append(args, []byte(`{"type":"orders.placed"}`), make([]byte, 500))...)
	w.exec("INSERT INTO {{inbox}} (consumer, message, digest, state, at) SELECT consumer, message, digest, 3, {{now}} FROM {{parked}}")
	w.exec("INSERT INTO {{inbox}} (consumer, message, digest, state, at) SELECT 'a' || consumer, message, digest, 1, {{now}} FROM {{parked}}")
	if w.pg {
		w.exec("ANALYZE {{parked}}")
	}
}

func (w *world) fillMaria(total, keys int) {
	w.t.Helper()
	key := "NULL"
	if keys > 0 {
		key = fmt.Sprintf("concat('k', seq %% %d)", keys)
	}
	w.exec(fmt.Sprintf("INSERT INTO {{parked}} (state, relay, consumer, message, digest, id, source, type, topic, key, attrs, body, attempts, reason, error, node, first_at, last_at) "+
		"SELECT 2, 0, 'billing', unhex(md5(seq)), unhex(md5(seq)), concat('id', seq), 'shop', concat('orders.t', seq %% 10), 'orders', %s, ?1, ?2, 10, 'attempts', "+
		"concat('something failed in a long chain of errors, number ', seq), 'host/1', {{now}}, {{now}} FROM seq_1_to_%d", key, total), []byte(`{"type":"orders.placed"}`), make([]byte, 500))
	w.exec("INSERT INTO {{inbox}} (consumer, message, digest, state, at) SELECT consumer, message, digest, 3, {{now}} FROM {{parked}}")
	w.exec("INSERT INTO {{inbox}} (consumer, message, digest, state, at) SELECT concat('a', consumer), message, digest, 1, {{now}} FROM {{parked}}")
}

// pages is how many pages of PostgreSQL statements on parked messages have touched so far; 0 where nobody counts them.
func (w *world) pages() (n int64) {
	w.t.Helper()
	if !w.pg {
		return 0
	}
	if _, err := w.run.ExecSQL(w.t.Context(), "CREATE EXTENSION IF NOT EXISTS pg_stat_statements"); err != nil {
		w.t.Logf("pages are not counted: %v", err)
		return 0
	}
	must(w.t, w.run.EachRow(w.t.Context(), "SELECT coalesce(sum(s.shared_blks_hit + s.shared_blks_read), 0)::bigint FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid "+
		"WHERE d.datname = current_database() AND s.query LIKE '%parked%'", nil, func(r sqltx.Rows) error { return r.Scan(&n) }))
	return n
}

// scan is the time that it takes, at best, to read all parked messages, which on a slow machine is long.
func (w *world) scan() time.Duration {
	w.t.Helper()
	best := time.Hour
	for range 3 {
		began := time.Now()
		w.ask("SELECT count(*) FROM {{parked}} WHERE error LIKE '%nothing of that kind%'")
		best = min(best, time.Since(began))
	}
	return best
}

// Reach: 10,000 dead letters list, filter and page in less than 50 ms. On PostgreSQL pages are counted, of which the table has some 1,000;
// the time is only logged there, and leaves room for slow machines elsewhere.
func TestTenThousandDeadLettersAreListedAtOnce(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill(10_000, 100)
		for name, c := range map[string]struct {
			f deadletter.Filter
			p deadletter.Page
			n int

			most int64 // pages
		}{
			"first page": {n: 100, most: 50}, "last page": {p: deadletter.Page{After: 9_950}, n: 50, most: 50}, "one of them": {f: deadletter.Filter{Error: "number 9999"}, n: 1, most: 2_000}, "none": {f: deadletter.Filter{Key: "nobody"}, most: 200},
			"type": {f: deadletter.Filter{Type: "orders.t3"}, p: deadletter.Page{After: 5_000}, n: 100, most: 400}, "id": {f: deadletter.Filter{ID: "id777"}, n: 1, most: 20},
		} {
			best, before := time.Hour, w.pages()
			for range 5 {
				began := time.Now()
				list, err := w.letters.List(t.Context(), c.f, c.p)
				best = min(best, time.Since(began))
				if err != nil || len(list) != c.n {
					t.Fatalf("%s: %d, want %d: %v", name, len(list), c.n, err)
				}
			}
			touched := (w.pages() - before) / 5
			t.Logf("%s: %v, %d pages", name, best, touched)
			if touched > c.most {
				t.Errorf("%s touches %d pages, %d are enough", name, touched, c.most)
			}
			if plain := w.scan(); !w.pg && best > max(time.Second, 5*plain) {
				t.Errorf("%s took %v, and reading the table %v", name, best, plain)
			}
		}
	})
}

// Reach: 100,000 messages of 1,000 keys are sent again at 5,000 a second, with memory that does not grow with them. The time is only logged.
func TestManyAreRedrivenWithLittleMemory(t *testing.T) {
	gc := debug.SetGCPercent(100) // what is counted is memory that a program has as it comes
	defer debug.SetGCPercent(gc)
	each(t, func(t *testing.T, w *world) {
		total := 20_000
		if !w.pg {
			total = 5_000 // that memory does not grow is shown on one database; the others show that they do the same
		}
		w.fill(total, 200)
		began, most := time.Now(), uint64(0)
		w.redrive(total, deadletter.Filter{}, deadletter.Options{Progress: func(deadletter.Report) {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}})
		took := time.Since(began)
		t.Logf("%d in %v: %.0f a second, heap %d MB", total, took, float64(total)/took.Seconds(), most>>20)
		w.want("lines", "200", fmt.Sprintf("SELECT count(*) FROM {{line}} WHERE size = %d", total/200))
		w.want("inbox", strconv.Itoa(total), "SELECT count(*) FROM {{inbox}} WHERE state = 2")
		w.want("left behind", "0", "SELECT count(*) FROM {{parked}} WHERE state <> 1 OR epoch <> 1")
		if most > 200<<20 {
			t.Errorf("the heap grew to %d MB", most>>20)
		}
	})
}
