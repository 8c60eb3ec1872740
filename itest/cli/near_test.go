package cli

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// A crowd is a database with an outbox in which ids rise with their seqs.
type crowd struct {
	*runner
	outbox string // its name
	insert string // INSERT of rows with the seqs from the first number to the second
	exec   func(q string)
}

// made is the id of the row with a seq, as Sixfold could have made it: a row every ten milliseconds.
func made(seq int64) string {
	ms := 1_720_000_000_000 + 10*seq
	return fmt.Sprintf("%08x-%04x-7000-8000-%012x", ms>>16, ms&0xffff, seq)
}

func (c *crowd) add(from, to int64) {
	c.t.Helper()
	c.exec(fmt.Sprintf(c.insert, from, to))
}

func crowdOnPostgres(t *testing.T) *crowd {
	t.Helper()
	dsn := servers.Postgres(t).Database(t)
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c := &crowd{newCrew(t, dsn), "sixfold.outbox", `INSERT INTO sixfold.outbox (seq, partition, id, class, topic, attrs) OVERRIDING SYSTEM VALUE
		SELECT g, 0, (lpad(to_hex(1720000000000 + 10 * g), 12, '0') || '70008000' || lpad(to_hex(g), 12, '0'))::uuid, '', 'orders', '{"type":"a"}' FROM generate_series(%d::bigint, %d) g`,
		func(q string) {
			t.Helper()
			if _, err := pool.Exec(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}}
	if got := c.run("migrate", "up"); got.code != 0 {
		t.Fatal(got.err)
	}
	return c
}

func crowdOnSQLite(t *testing.T) *crowd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	c := &crowd{newRunner(t, "SIXFOLD_DSN=sqlite:"+file), "sixfold_outbox", `INSERT INTO sixfold_outbox (seq, partition, id, class, topic, attrs)
		WITH RECURSIVE s(g) AS (SELECT %d UNION ALL SELECT g + 1 FROM s WHERE g < %d)
		SELECT g, 0, printf('%%08x-%%04x-7000-8000-%%012x', (1720000000000 + 10 * g) >> 16, (1720000000000 + 10 * g) & 65535, g), '', 'orders', '{"type":"a"}' FROM s`,
		func(q string) {
			t.Helper()
			if _, err := db.ExecContext(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}}
	if got := c.run("migrate", "up"); got.code != 0 {
		t.Fatal(got.err)
	}
	return c
}

func eachCrowd(t *testing.T, f func(t *testing.T, c *crowd)) {
	t.Run("PostgreSQL", func(t *testing.T) { f(t, crowdOnPostgres(t)) })
	t.Run("SQLite", func(t *testing.T) { f(t, crowdOnSQLite(t)) })
}

// finds wants the rows with these seqs and no others.
func (c *crowd) finds(args []string, seqs ...int64) {
	c.t.Helper()
	got := c.run(append([]string{"--format", "json", "outbox", "show"}, args...)...)
	if n := strings.Count(got.out, "\n"); n != len(seqs) {
		c.t.Errorf("%v: code %d, %d rows: %q, want %v", args, got.code, n, got.all(), seqs)
	}
	for _, seq := range seqs {
		if !strings.Contains(got.out, fmt.Sprintf(`"seq":%d,`, seq)) {
			c.t.Errorf("%v: %q, want %v", args, got.all(), seqs)
		}
	}
}

// A message is found by its id wherever it is, and whatever other ids there are.
func TestShowFindsEveryID(t *testing.T) {
	eachCrowd(t, func(t *testing.T, c *crowd) {
		const far = 10_000_000_000 // a sequence that has run for long
		c.add(1, 20_000)
		c.add(far, far+40_000)
		c.exec(fmt.Sprintf("DELETE FROM %s WHERE seq BETWEEN %d AND %d", c.outbox, far+10_000, far+18_000))
		// Ids of another kind: one in three everywhere, and nothing else in a stretch.
		c.exec(fmt.Sprintf("UPDATE %s SET id = '%s' WHERE seq %% 3 = 0 OR seq BETWEEN %d AND %d", c.outbox, "f47ac10b-58cc-4372-a567-0e02b2c3d479", far+25_000, far+28_000))
		for _, seq := range []int64{1, 10_000, 19_999, far, far + 9_998, far + 18_001, far + 24_998, far + 28_001, far + 39_998} {
			if seq%3 == 0 {
				seq++
			}
			c.finds([]string{made(seq)}, seq)
			c.finds([]string{strings.ToUpper(made(seq))}, seq)
		}
		if got := c.run("outbox", "show", made(far+15_001)); got.code != 1 || !strings.Contains(got.err, "waits") {
			t.Errorf("an id that is not there: code %d, %q", got.code, got.all())
		}
		// One of a row that was written long after.
		c.exec(fmt.Sprintf("UPDATE %s SET id = '%s' WHERE seq = %d", c.outbox, made(77), far+35_000))
		c.exec(fmt.Sprintf("DELETE FROM %s WHERE seq = 77", c.outbox))
		c.finds([]string{made(77)}, far+35_000)
	})
}

// The time in an id leads to its place, so that the row of the same id far away is not met: the table was not read.
func TestShowGoesWhereTheTimeLeads(t *testing.T) {
	eachCrowd(t, func(t *testing.T, c *crowd) {
		c.add(1, 40_000)
		c.exec(fmt.Sprintf("UPDATE %s SET id = '%s' WHERE seq = 5", c.outbox, made(35_000)))
		c.finds([]string{made(35_000)}, 35_000)
		c.finds([]string{made(35_000), "--exact"}, 5, 35_000)
		for _, at := range []string{"before the first row", "in an empty table"} {
			if got := c.run("outbox", "show", "00000000-0001-7000-8000-000000000000"); got.code != 1 || !strings.Contains(got.err, "waits") {
				t.Errorf("%s: %q", at, got.all())
			}
			c.exec("DELETE FROM " + c.outbox)
		}
	})
}

// A million rows in a file cost nothing either. SQLite does not say what it reads; that the first row was not met says it.
func TestAMillionRowsInAFile(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes a million rows")
	}
	c := crowdOnSQLite(t)
	c.add(1, million)
	c.exec(fmt.Sprintf("UPDATE %s SET id = '%s' WHERE seq = 1", c.outbox, made(million/3)))
	best := func(args []string, seqs ...int64) time.Duration {
		t.Helper()
		least := time.Hour
		for range 3 {
			began := time.Now()
			c.finds(args, seqs...)
			least = min(least, time.Since(began))
		}
		return least
	}
	near := best([]string{made(million / 3)}, million/3)
	t.Logf("of %d rows, by the time in the id %v, reading the table %v", million, near, best([]string{made(million / 3), "--exact"}, 1, million/3))
}
