package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func row(key string) outbox.Row {
	return outbox.Row{Partition: outbox.PartitionOf(key), ID: sixfold.NewID(), Topic: "orders", Key: key, Attrs: []byte(`{"type":"t"}`), Body: []byte(`{}`)}
}

func everything(class string) outbox.Ownership {
	o := outbox.Ownership{Class: class}
	for p := range o.Partitions {
		o.Partitions[p] = true
	}
	return o
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, st *store.Store, db sqltx.Runner, rows ...outbox.Row) {
	t.Helper()
	must(t, db.InTx(t.Context(), func(tx sqltx.Tx) error {
		_, _, err := st.Outbox().Writer().Append(t.Context(), tx, outbox.ToBroker, rows, false)
		return err
	}))
}

// buffers is how many pages a query touches, functions in it included.
func buffers(t *testing.T, c *pgxpool.Pool, q string) int {
	t.Helper()
	var out []byte
	must(t, c.QueryRow(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) "+q).Scan(&out))
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	must(t, json.Unmarshal(out, &plans))
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

// [PlanGuard]: what was prepared on an empty table must not walk dead rows. Pages are counted, not time.
func TestPlanGuard(t *testing.T) {
	dsn := servers.Postgres(t).Database(t)
	config, err := pgxpool.ParseConfig(dsn)
	must(t, err)
	config.MaxConns = 1 // plans are kept per session
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(p.Close)
	st, err := store.Postgres(sqltx.PgxDB(p), nil)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	exec := func(q string) {
		t.Helper()
		_, err := p.Exec(t.Context(), q)
		must(t, err)
	}
	exec(`ALTER TABLE sixfold.outbox SET (autovacuum_enabled = off)`)
	exec(`VACUUM ANALYZE sixfold.outbox`)
	exec(`PREPARE plain(bigint) AS SELECT seq FROM sixfold.outbox WHERE seq > $1 ORDER BY seq LIMIT 1000`)
	node := sixfold.NewID()
	must(t, st.Outbox().Leases().Join(t.Context(), "", node, time.Hour))
	q := st.Outbox().Queue(outbox.ToBroker)
	for range 10 { // from the sixth call on plans are generic
		_, err := q.Read(t.Context(), 0, 1000, everything(""))
		must(t, err)
		_, err = q.LookUp(t.Context(), []outbox.Range{{From: 1, To: 2}}, 1000, everything(""))
		must(t, err)
		_, err = q.LookUp(t.Context(), []outbox.Range{{From: 1, To: 1e6}}, 1000, everything(""))
		must(t, err)
		_, err = q.Settle(t.Context(), node, []int64{1})
		must(t, err)
		must(t, pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
			_, _, err := q.Claim(t.Context(), sqltx.Pgx(tx), node, []int64{1})
			return err
		}))
		exec(`EXECUTE plain(0)`)
	}

	old := pool(t, dsn)
	snapshot, err := old.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	must(t, err)
	_, err = snapshot.Exec(t.Context(), "SELECT count(*) FROM sixfold.outbox")
	must(t, err)
	exec(`INSERT INTO sixfold.outbox (partition, id, class, topic, attrs) SELECT g % 64, gen_random_uuid(), '', 't', '' FROM generate_series(1, 100000) g`)
	exec(`DELETE FROM sixfold.outbox`) // the old snapshot keeps vacuum from removing them; a VACUUM would only make new plans
	put(t, st, sqltx.PgxDB(p), row("k"))
	rows, err := q.Read(t.Context(), 100_000, 1000, everything(""))
	must(t, err)
	if len(rows) != 1 {
		t.Fatalf("%d rows", len(rows))
	}
	seq := rows[0].Seq
	if n := buffers(t, p, fmt.Sprintf("EXECUTE plain(%d)", seq-1)); n < 500 {
		t.Errorf("the unguarded statement touches %d pages: this test shows nothing any more", n)
	}
	for name, q := range map[string]string{
		"read":           fmt.Sprintf("SELECT * FROM sixfold.outbox_read(%d, 1000, '', -1)", seq-1),
		"look up":        fmt.Sprintf("SELECT * FROM sixfold.outbox_look_up('{%d}', NULL, NULL, 1000, '', -1)", seq),
		"look up ranges": fmt.Sprintf("SELECT * FROM sixfold.outbox_look_up(NULL, '{%d}', '{%d}', 1000, '', -1)", seq, seq+1_000_000),
		"claim":          fmt.Sprintf("SELECT * FROM sixfold.outbox_claim('%s', '{%d}', false)", node, seq+1),
		"settle":         fmt.Sprintf("SELECT sixfold.outbox_settle('%s', '{%d}', false)", node, seq),
	} {
		if n := buffers(t, p, q); n > 60 {
			t.Errorf("%s beyond 100,000 dead rows touches %d pages", name, n)
		}
	}
	must(t, snapshot.Rollback(t.Context()))
}

// [CacheOneRequired]
func TestCacheOneRequired(t *testing.T) {
	st, _, super := granted(t, nil)
	for _, c := range []struct{ alter, undo, want string }{
		{"SET CACHE 20", "SET CACHE 1", "CACHE 20"},
		{"SET INCREMENT -1 SET MINVALUE -1000 SET MAXVALUE 9223372036854775807", "SET INCREMENT 1", "upwards"},
		{"SET CYCLE", "SET NO CYCLE", "upwards"},
		{"DROP IDENTITY", "", "IDENTITY"},
	} {
		_, err := super.Exec(t.Context(), "ALTER TABLE sixfold.local ALTER COLUMN seq "+c.alter)
		must(t, err)
		if _, err := st.Outbox().Keeper().Check(t.Context()); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("after %s: %v", c.alter, err)
		}
		if c.undo != "" {
			_, err = super.Exec(t.Context(), "ALTER TABLE sixfold.local ALTER COLUMN seq "+c.undo)
			must(t, err)
		}
	}
}

// [RestoreLowerXid]: after a restore numbers begin again. Nothing may depend on a stored transaction id, and what was in
// flight before must not remove new rows.
func TestRestoreLowerXid(t *testing.T) { // guarantees: R3, R5
	st, p, super := granted(t, nil)
	db := sqltx.PgxDB(p)
	stale, next := sixfold.NewID(), sixfold.NewID()
	l := st.Outbox().Leases()
	must(t, l.Join(t.Context(), "", stale, time.Hour))
	put(t, st, db, row("a"), row("b"))
	_, err := super.Exec(t.Context(), "DELETE FROM sixfold.outbox; ALTER TABLE sixfold.outbox ALTER COLUMN seq RESTART")
	must(t, err)
	put(t, st, db, row("c"), row("d"))
	_, _, err = l.Beat(t.Context(), "", stale, time.Microsecond, 0)
	must(t, err)
	must(t, l.Join(t.Context(), "", next, time.Hour))
	_, err = l.Take(t.Context(), "", next, 64, outbox.ToBroker, false)
	must(t, err)
	q := st.Outbox().Queue(outbox.ToBroker)
	if n, err := q.Settle(t.Context(), stale, []int64{1, 2}); !errors.Is(err, outbox.ErrFenced) {
		t.Errorf("a settle from before the reset: %d, %v", n, err)
	}
	rows, err := q.Read(t.Context(), 0, 10, everything(""))
	must(t, err)
	if len(rows) != 2 || rows[0].Seq != 1 {
		t.Errorf("%d rows after a reset", len(rows))
	}
}

// [PruneIsPolite]: processes that prune at once do not wait for each other, and no call does more than it was asked for.
func TestPruneIsPolite(t *testing.T) { // guarantees: I5
	st, p, _ := granted(t, &store.Options{KeepDelivered: time.Nanosecond})
	must(t, pgx.BeginFunc(t.Context(), p, func(tx pgx.Tx) error {
		for i := range 10 {
			if _, err := st.Inbox().Record(t.Context(), sqltx.Pgx(tx), "c", []inbox.Record{{Message: [16]byte{byte(i)}}}); err != nil {
				return err
			}
		}
		return nil
	}))
	put(t, st, sqltx.PgxDB(p), row("a"), row("b"), row("c"))
	node := sixfold.NewID()
	must(t, st.Outbox().Leases().Join(t.Context(), "", node, time.Hour))
	_, err := st.Outbox().Queue(outbox.ToBroker).Settle(t.Context(), node, []int64{1, 2, 3})
	must(t, err)
	_, err = p.Exec(t.Context(), "INSERT INTO sixfold.published SELECT g::text, gen_random_uuid(), now() - interval '1 hour' FROM generate_series(1, 4) g")
	must(t, err)

	other, err := p.Begin(t.Context())
	must(t, err)
	defer other.Rollback(context.Background())
	_, err = other.Exec(t.Context(), "DELETE FROM sixfold.inbox WHERE message < '\\x04'; DELETE FROM sixfold.delivered WHERE seq = 1; DELETE FROM sixfold.published WHERE claim = '2'")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a call that waited would never return
	defer cancel()
	if n, err := st.Inbox().Prune(ctx, 0, 4); err != nil || n != 4 {
		t.Errorf("pruned %d of the inbox, %v; 10 are old, 4 of them locked, 4 were asked for", n, err)
	}
	if n, err := st.Inbox().Prune(ctx, 0, 100); err != nil || n != 2 {
		t.Errorf("pruned %d of the inbox, %v; 2 are left beside the locked ones", n, err)
	}
	if n, err := st.Outbox().Keeper().Purge(ctx, 100); err != nil || n != 2+3 {
		t.Errorf("purged %d, %v; 2 delivered and 3 published rows are old and not locked", n, err)
	}
}

// [OddTableNames]
func TestOddTableNames(t *testing.T) {
	p := pool(t, servers.Postgres(t).Database(t))
	db := sqltx.PgxDB(p)
	long := strings.Repeat("s", 63)
	for _, o := range []store.Options{
		{}, {Schema: "Order", Prefix: "MyApp"}, {Schema: "select", Prefix: "table "}, {Schema: "1abc", Prefix: "1-"}, {Schema: "public", Prefix: "a b "},
		{Schema: "схема", Prefix: "таб"}, {Schema: "🔑", Prefix: "🔑"}, {Schema: "null", Prefix: "%s"}, {Schema: long, Prefix: strings.Repeat("p", 42)}, {Schema: long, Prefix: strings.Repeat("p", 41) + "q"},
	} {
		st, err := store.Postgres(db, &o)
		must(t, err)
		must(t, st.Migrate(t.Context()))
		must(t, st.Migrate(t.Context()))
		put(t, st, db, row("a"), row("b"))
		rows, err := st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 10, everything(""))
		if err != nil || len(rows) != 2 {
			t.Errorf("%+q %+q: %d rows, %v", o.Schema, o.Prefix, len(rows), err)
		}
		if _, err := st.Outbox().Queue(outbox.ToBroker).Writers(t.Context()); err != nil {
			t.Errorf("%+q %+q: %v", o.Schema, o.Prefix, err)
		}
		if _, err := st.Outbox().Keeper().Check(t.Context()); err != nil {
			t.Errorf("%+q %+q: %v", o.Schema, o.Prefix, err)
		}
	}
}
