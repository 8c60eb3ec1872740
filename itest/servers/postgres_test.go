package servers_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestPostgresDatabaseIsNewAndNamedAfterTheTest(t *testing.T) {
	p := servers.Postgres(t)
	first, second := p.Database(t), p.Database(t)
	if n := query[int](t, first, "SELECT count(*)::int FROM pg_stat_user_tables"); n != 0 {
		t.Errorf("the new database has %d tables", n)
	}
	name := query[string](t, first, "SELECT current_database()")
	if !strings.HasPrefix(name, "t_testpostgresdatabaseisnew") {
		t.Errorf("the database is named %q, not after the test", name)
	}
	if other := query[string](t, second, "SELECT current_database()"); other == name {
		t.Errorf("two databases have one name, %q", name)
	}
}

func TestPostgresDatabaseIsDroppedWithTheTest(t *testing.T) {
	p := servers.Postgres(t)
	var name string
	t.Run("inner", func(t *testing.T) { name = query[string](t, p.Database(t), "SELECT current_database()") })
	if n := query[int](t, p.DSN(), "SELECT count(*)::int FROM pg_database WHERE datname = $1", name); n != 0 {
		t.Errorf("database %q is still there after its test", name)
	}
}

func TestPostgresIsOneServerPerProcess(t *testing.T) {
	if a, b := servers.Postgres(t).Pid(), servers.Postgres(t).Pid(); a != b || a == 0 {
		t.Errorf("the shared server has process ids %d and %d", a, b)
	}
}

func TestPostgresHasTheSettingsOfAPlainServer(t *testing.T) {
	p := servers.PrivatePostgres(t, &servers.PostgresOptions{Settings: map[string]string{"work_mem": "5MB"}})
	for name, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "200",
		"max_prepared_transactions": "10", "listen_addresses": "127.0.0.1", "work_mem": "5MB", "TimeZone": "UTC",
	} {
		if got := query[string](t, p.DSN(), "SELECT current_setting($1)", name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
}

func TestPostgresRefusesAWrongPassword(t *testing.T) {
	p := servers.Postgres(t)
	u, err := url.Parse(p.DSN())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("postgres", "wrong")
	if err := connect(t, u.String()); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("a wrong password gives %v", err)
	}
}

func TestPostgresKeepsPortAndRowsOverEveryKindOfStop(t *testing.T) {
	p := servers.PrivatePostgres(t, nil)
	dsn := p.Database(t)
	execute(t, dsn, "CREATE TABLE rows (how int)")
	for _, how := range []servers.Shutdown{servers.Fast, servers.Immediate, servers.Kill} {
		execute(t, dsn, "INSERT INTO rows VALUES ($1)", int(how))
		pid := p.Pid()
		p.Restart(t, how)
		if p.Pid() == pid || alive(pid) {
			t.Errorf("stop %d: the server is still process %d", how, pid)
		}
		if n := query[int](t, dsn, "SELECT count(*)::int FROM rows"); n != int(how)+1 {
			t.Errorf("stop %d: %d rows are left, want %d", how, n, int(how)+1)
		}
	}
}

func TestPostgresStartsAgainAfterSomebodyElseKilledIt(t *testing.T) {
	p := servers.PrivatePostgres(t, nil)
	kill(t, p.Pid())
	eventually(t, "the end of the server is noticed", func() bool { return !p.Running() })
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	query[int](t, p.DSN(), "SELECT 1")
}

func TestPostgresCloseEndsAStoppedProcessAndLeavesNothing(t *testing.T) {
	servers.Postgres(t) // skipped where there is no PostgreSQL
	p, err := servers.StartPostgres(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pid, dir := p.Pid(), filepath.Dir(query[string](t, p.DSN(), "SHOW data_directory"))
	freeze(t, pid)
	for range 2 {
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if alive(pid) {
		t.Errorf("process %d is left", pid)
	}
	if !gone(dir) {
		t.Errorf("directory %s is left", dir)
	}
	if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("start after close gives %v", err)
	}
}

func TestTwoServersRunSideBySide(t *testing.T) {
	a, b := servers.PrivatePostgres(t, nil), servers.PrivatePostgres(t, nil)
	if a.Addr() == b.Addr() || a.Pid() == b.Pid() {
		t.Fatalf("two servers are one: %s and %s", a.Addr(), b.Addr())
	}
	execute(t, a.DSN(), "CREATE TABLE only_here ()")
	if query[bool](t, b.DSN(), "SELECT to_regclass('only_here') IS NOT NULL") {
		t.Error("two servers share their tables")
	}
}

func TestStartingSaysWhatIsWrongWithASetting(t *testing.T) {
	servers.Postgres(t) // skipped where there is no PostgreSQL
	_, err := servers.StartPostgres(t.Context(), &servers.PostgresOptions{Settings: map[string]string{"no_such": "1"}})
	if err == nil || !strings.Contains(err.Error(), `unrecognized configuration parameter "no_such"`) {
		t.Errorf("an unknown setting gives: %v", err)
	}
}
