package cli

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// Ctrl-C in the middle of a purge: it ends, and says what was done.
func TestInterruptedPurgeSaysWhatWasDone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals")
	}
	dsn := servers.Postgres(t).Database(t)
	r := newCrew(t, dsn)
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	const rows = 50_000
	if _, err := pool.Exec(t.Context(), fmt.Sprintf(insert, "outbox", "", rows)); err != nil {
		t.Fatal(err)
	}
	// A row in the middle that is slow to remove: the signal comes while the command waits there.
	if _, err := pool.Exec(t.Context(), `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.seq = 2500 THEN
		PERFORM pg_sleep(60); END IF; RETURN OLD; END $$; CREATE TRIGGER slow BEFORE DELETE ON sixfold.outbox FOR EACH ROW EXECUTE FUNCTION slow()`); err != nil {
		t.Fatal(err)
	}
	c, out, stderr := r.cmd(t.Context(), "outbox", "purge", "--all", "--yes")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for there := false; !there; { // it waits in its third step
		if err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')").Scan(&there); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	code := r.ended(c.Wait())
	said := regexp.MustCompile(`interrupted: (\d+) messages were removed`).FindStringSubmatch(stderr.String())
	if code != 1 || out.Len() > 0 || said == nil {
		t.Fatalf("code %d, %q, %q", code, out, stderr)
	}
	var left int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM sixfold.outbox").Scan(&left); err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprint(rows - left); said[1] != want || want != "2000" {
		t.Errorf("it says that %s were removed, and %s were", said[1], want)
	}
}

// Ctrl-C while a migration waits: it ends at once, says so, and nothing is there.
func TestInterruptedMigrationLeavesNothing(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals")
	}
	dsn := servers.Postgres(t).Database(t)
	r := newRunner(t, "SIXFOLD_DSN="+dsn)
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	other, err := pool.Begin(t.Context()) // makes the schema too, and does not commit
	if err == nil {
		_, err = other.Exec(t.Context(), "CREATE SCHEMA sixfold")
	}
	if err != nil {
		t.Fatal(err)
	}
	c, out, stderr := r.cmd(t.Context(), "migrate", "up")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for waits := false; !waits; {
		if err := pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')").Scan(&waits); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := r.ended(c.Wait()); code != 1 || out.Len() > 0 || !strings.Contains(stderr.String(), "sixfold: interrupted\n  nothing more was done\n") {
		t.Errorf("code %d, %q, %q", code, out, stderr)
	}
	if err := other.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	var schemas int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = 'sixfold'").Scan(&schemas); err != nil || schemas != 0 {
		t.Errorf("%d schemas, %v", schemas, err)
	}
}

// As `| head` does: who closes the pipe after the first line ends the command, which says nothing about it.
func TestClosedPipeEndsTheCommandInSilence(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals")
	}
	rows := crowdOnSQLite(t)
	rows.add(1, 10_000)
	for _, args := range [][]string{{"outbox", "list", "--limit", "10000"}, {"--format", "json", "outbox", "list", "--limit", "10000"}} {
		c, _, stderr := rows.cmd(t.Context(), args...)
		c.Stdout = nil
		stdout, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(stdout, make([]byte, 10)); err != nil {
			t.Fatal(err)
		}
		stdout.Close()
		if code := rows.ended(c.Wait()); code == 0 || stderr.Len() > 0 {
			t.Errorf("%v: code %d, %q; was all of it written, or is the end complained about?", args, code, stderr)
		}
	}
}

// Following shows what is sent from then on, once, and ends when it is interrupted.
func TestTailFollows(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no signals")
	}
	r := newRunner(t, "SIXFOLD_BROKER="+servers.NATS(t, nil).URL())
	if got := r.run("bus", "declare", "orders"); got.code != 0 {
		t.Fatal(got.err)
	}
	publish := func(text string) {
		t.Helper()
		if got := r.run("bus", "publish", "orders", "--type", "orders.placed", "--key", "k", "--content-type", "text/plain", "--data", text); got.code != 0 {
			t.Fatal(got.err)
		}
	}
	publish("before")
	for _, args := range [][]string{{"--count", "2"}, nil} {
		c, _, _ := r.cmd(t.Context(), append([]string{"bus", "tail", "orders", "--body"}, args...)...)
		c.Stdout, c.Stderr = nil, nil
		stdout, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		stderr, err := c.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || !strings.Contains(line, "following") {
			t.Fatalf("%q, %v", line, err)
		}
		publish("one")
		publish("two")
		lines := bufio.NewScanner(stdout)
		for _, want := range []string{" one", " two"} {
			if !lines.Scan() || !strings.HasSuffix(lines.Text(), want) {
				t.Fatalf("%v: %q, want%s", args, lines.Text(), want)
			}
		}
		if args == nil {
			if err := c.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
		}
		rest, _ := io.ReadAll(stdout)
		if code := r.ended(c.Wait()); code != 0 || len(rest) > 0 {
			t.Errorf("%v: code %d, %q", args, code, rest)
		}
	}
	// It took nothing from anybody.
	if got := r.run("bus", "peek", "orders"); !strings.Contains(got.out, "5 of 5 messages") {
		t.Errorf("%q", got.out)
	}
}
