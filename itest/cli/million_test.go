package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/cmd/sixfold/cli"
	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
)

// Commands answer at once whatever the table holds: within a tenth of a second on an idle machine. What is tested is how
// many rows the database reads for them; the time, on a busy machine and under the race detector, is only logged.
func TestAMillionRowsCostNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a million rows")
	}
	const byID = "f47ac10b-58cc-4372-a567-0e02b2c3d479" // which Sixfold did not make
	dsn := servers.Postgres(t).Database(t)
	as := crew{roles.On(t, dsn, nil)}
	run := func(args ...string) (string, time.Duration) {
		t.Helper()
		t.Setenv("SIXFOLD_DSN", as.login(args))
		var out, stderr strings.Builder
		began := time.Now()
		if code := cli.Main(args, strings.NewReader(""), &out, &stderr); code > 1 {
			t.Fatalf("%v: code %d, %s", args, code, stderr.String())
		}
		return out.String(), time.Since(began)
	}
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	exec := func(q string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	// First dead rows, which a table that vacuum does not keep up with has at its head.
	exec("ALTER TABLE sixfold.outbox SET (autovacuum_enabled = off)")
	// Half a second before its row was written an id may have been minted, and a few are of another kind.
	const rows = `INSERT INTO sixfold.outbox (partition, id, class, topic, key, attrs, body) SELECT g %% 64, CASE WHEN g %% 100 = 0 THEN gen_random_uuid() ELSE
		(lpad(to_hex(1720000000000 + g / 10 - (random() * 500)::bigint), 12, '0') || '7' || left(md5(g::text), 3) || '8' || right(md5(g::text), 15))::uuid END,
		'', 'orders', 'k' || g, '{"type":"orders.placed"}', '{"n":12345678901234567890}' FROM generate_series(1, %d) g`
	exec(fmt.Sprintf(rows, 50_000) + "; DELETE FROM sixfold.outbox")
	exec(fmt.Sprintf(rows, 1_000_000))
	var near string
	if err := pool.QueryRow(t.Context(), "SELECT id FROM sixfold.outbox WHERE seq = 654321").Scan(&near); err != nil {
		t.Fatal(err)
	}
	exec("INSERT INTO sixfold.outbox (partition, id, class, topic, attrs) VALUES (0, '" + byID + "', '', 'orders', '{\"type\":\"a\"}')")
	exec("ANALYZE sixfold.outbox")
	pool.Reset()
	connect := time.Hour
	for range 3 {
		began := time.Now()
		p, err := pgxpool.New(t.Context(), dsn)
		if err == nil {
			err = p.Ping(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		connect = min(connect, time.Since(began))
		p.Close()
	}
	// read answers how many rows have been read since the last time, once the sessions before have ended and said so.
	last := 0
	read := func() int {
		t.Helper()
		for open := true; open; {
			if err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'sixfold')").Scan(&open); err != nil {
				t.Fatal(err)
			}
		}
		var all int
		if err := pool.QueryRow(t.Context(), `SELECT t.seq_tup_read + t.idx_tup_fetch + (SELECT sum(i.idx_tup_read) FROM pg_stat_user_indexes i WHERE i.relid = t.relid)
			FROM pg_stat_user_tables t WHERE t.relid = 'sixfold.outbox'::regclass`).Scan(&all); err != nil {
			t.Fatal(err)
		}
		since := all - last
		last = all
		return since
	}
	read()
	if run("outbox", "stats", "--exact"); read() < 1_000_000 {
		t.Error("counting every row reads few: are they counted at all?")
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"outbox", "stats"}, "about 1"}, {[]string{"outbox", "list"}, "There may be more"}, {[]string{"outbox", "list", "--after", "700000"}, "700001"},
		{[]string{"outbox", "show", "900000"}, "orders.placed"}, {[]string{"doctor"}, "no relay sends"}, {[]string{"migrate", "status"}, "yes"},
		{[]string{"outbox", "purge", "--yes", "--seq", "900001"}, "removed 1"}, {[]string{"outbox", "publish", "--topic", "a", "--type", "b"}, "-"},
		{[]string{"outbox", "show", near}, "654321"},
		{[]string{"outbox", "show", byID}, "orders"}, // which reads the table
	} {
		best := time.Hour
		for try := range 3 { // the first may find its pages on the disk
			if slices.Contains(c.args, "--seq") { // each another row
				c.args[4] = strconv.Itoa(900_001 + try)
			}
			out, took := run(c.args...)
			if !strings.Contains(out, c.says) {
				t.Fatalf("%v says %q", c.args, out)
			}
			best = min(best, took)
			// Dead rows at the head are read as well, until they are marked in the index.
			if n := read(); n > 150_000 && c.args[len(c.args)-1] != byID {
				t.Errorf("%v made the database read %d rows", c.args, n)
			}
		}
		t.Logf("%-60s %v (connecting takes %v)", strings.Join(c.args, " "), best, connect)
	}
}
