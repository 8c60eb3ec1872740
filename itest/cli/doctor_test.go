package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// patient is a database that doctor looks at, with its tables.
type patient struct {
	*runner
	dsn  string
	pool *pgxpool.Pool
}

func newPatient(t *testing.T, p *servers.PostgresServer) *patient {
	t.Helper()
	dsn := p.Database(t)
	pool, err := pgxpool.New(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := &patient{newRunner(t, "SIXFOLD_DSN="+dsn), dsn, pool}
	if got := w.run("migrate", "up"); got.code != 0 {
		t.Fatal(got.err)
	}
	return w
}

func (p *patient) exec(q string) {
	p.t.Helper()
	if _, err := p.pool.Exec(p.t.Context(), q); err != nil {
		p.t.Fatal(err)
	}
}

type finding struct{ Check, State, Text, Fix string }

func (p *patient) doctor(args ...string) (all []finding, code int) {
	p.t.Helper()
	got := p.run(append([]string{"--format", "json", "doctor"}, args...)...)
	var r struct{ Findings []finding }
	if err := json.Unmarshal([]byte(got.out), &r); err != nil {
		p.t.Fatalf("%v: %q", err, got.all())
	}
	return r.Findings, got.code
}

// wants one finding of a check, in that state, whose text and fix say so.
func (p *patient) wants(all []finding, check, state, text, fix string) {
	p.t.Helper()
	for _, f := range all {
		if f.Check == check && f.State == state && strings.Contains(f.Text, text) && strings.Contains(f.Fix, fix) {
			if state != "ok" && f.Fix == "" {
				p.t.Errorf("%s has no fix", check)
			}
			return
		}
	}
	p.t.Errorf("no finding %s: %s with %q and the fix %q in\n%v", state, check, text, fix, all)
}

const insert = "INSERT INTO sixfold.%s (partition, id, class, topic, attrs, created_at) SELECT 0, gen_random_uuid(), '%s', '', '{\"type\":\"a\"}', now() - interval '1 hour' FROM generate_series(1, %d)"

// Each check fails where there is something to find, and not before.
func TestDoctorFindsEachThing(t *testing.T) {
	server := servers.Postgres(t)
	healthy, code := newPatient(t, server).doctor()
	if code != 0 || len(healthy) < 12 {
		t.Errorf("a healthy database: code %d, %v", code, healthy)
	}
	for _, f := range healthy {
		if f.State != "ok" {
			t.Errorf("a healthy database: %+v", f)
		}
	}
	for _, c := range []struct {
		name         string
		hurt         func(p *patient)
		args         []string
		check, state string
		text, fix    string
		code         int
	}{
		{"no schema", func(p *patient) { p.exec("DROP SCHEMA sixfold CASCADE") }, nil, "schema", "problem", "no tables", "sixfold migrate up", 1},
		{"altered schema", func(p *patient) { p.exec("UPDATE sixfold.schema_version SET checksum = 'x'") }, nil, "schema", "problem", "checksum", "", 1},
		{"newer schema", func(p *patient) {
			p.exec("INSERT INTO sixfold.schema_version (version, name, checksum, serves) SELECT n, 'later', '', n FROM (SELECT max(version) + 1 AS n FROM sixfold.schema_version) v")
		}, nil,
			"schema", "problem", ", which serves programs of schema", "update the program", 1},
		{"cached sequence", func(p *patient) {
			p.exec("ALTER TABLE sixfold.outbox ALTER COLUMN seq SET CACHE 20; ALTER TABLE sixfold.local ALTER COLUMN seq SET CACHE 20")
		}, nil,
			"sequence", "problem", `"local"`, "SET CACHE 1", 1}, // CacheOneRequired
		{"synchronous_commit", func(p *patient) { p.exec("ALTER DATABASE " + p.name() + " SET synchronous_commit = off") }, nil, "durability", "problem", "synchronous_commit = off", "switch it on", 1},
		{"old transaction", func(p *patient) { p.open() }, []string{"--old-transaction", "1us"}, "transactions", "warning", "has had a transaction open for", "pg_terminate_backend", 0},
		{"prepared transaction", func(p *patient) {
			p.exec("BEGIN; CREATE TABLE t (n integer); PREPARE TRANSACTION 'forgotten " + p.name() + "'")
			p.t.Cleanup(func() {
				_, _ = p.pool.Exec(context.Background(), "ROLLBACK PREPARED 'forgotten "+p.name()+"'")
			})
		}, []string{"--old-transaction", "1us"}, "prepared", "warning", "forgotten", "ROLLBACK PREPARED", 0},
		{"replication slot", func(p *patient) {
			p.exec("SELECT pg_create_physical_replication_slot('s_" + p.name()[len(p.name())-8:] + "', true)")
			p.t.Cleanup(func() {
				_, _ = p.pool.Exec(context.Background(), "SELECT pg_drop_replication_slot('s_"+p.name()[len(p.name())-8:]+"')")
			})
		}, nil, "slots", "warning", "nobody reads replication slot", "pg_drop_replication_slot", 0},
		{"dead rows", func(p *patient) {
			p.exec("ALTER TABLE sixfold.outbox SET (autovacuum_enabled = off)")
			p.exec(fmt.Sprintf(insert, "outbox", "", 2000))
			p.exec("DELETE FROM sixfold.outbox")
			p.pool.Reset() // a session that ends sends its statistics
			p.waits("SELECT pg_stat_get_dead_tuples('sixfold.outbox'::regclass) >= 1000")
		}, []string{"--dead-rows", "1000"}, "vacuum", "warning", "dead rows", "VACUUM", 0},
		{"no relay", func(p *patient) { p.exec(fmt.Sprintf(insert, "outbox", "", 3)) }, nil, "consumers", "problem", `no relay sends the rows of transport "" (3`, "start a relay", 1},
		{"no consumer", func(p *patient) { p.exec(fmt.Sprintf(insert, "local", "shipping", 3)) }, nil, "consumers", "problem", `nobody handles the rows of consumer "shipping"`, "start its process", 1},
		{"old row", func(p *patient) { p.exec(fmt.Sprintf(insert, "local", "shipping", 3)) }, nil, "oldest", "warning", "local: the oldest row is 1h0m", "outbox list", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPatient(t, server)
			c.hurt(p)
			all, code := p.doctor(c.args...)
			p.wants(all, c.check, c.state, c.text, c.fix)
			if code != c.code {
				t.Errorf("the exit code is %d, want %d", code, c.code)
			}
		})
	}
}

func (p *patient) name() string { return p.pool.Config().ConnConfig.Database }

// open leaves a transaction open until the test ends.
func (p *patient) open() {
	conn, err := pgx.Connect(p.t.Context(), p.dsn)
	if err == nil {
		_, err = conn.Exec(p.t.Context(), "BEGIN; SELECT 1")
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { conn.Close(context.Background()) })
}

// waits until the database says yes: statistics come when they come.
func (p *patient) waits(q string) {
	for yes := false; !yes; {
		if err := p.pool.QueryRow(p.t.Context(), q).Scan(&yes); err != nil {
			p.t.Fatal(err)
		}
	}
}

// Settings of the whole server need a server of their own.
func TestDoctorFindsSettingsOfTheServer(t *testing.T) { // guarantees: O4
	p := newPatient(t, servers.PrivatePostgres(t, &servers.PostgresOptions{Settings: map[string]string{"fsync": "off", "full_page_writes": "off"}}))
	all, code := p.doctor()
	p.wants(all, "durability", "problem", "fsync = off", "switch it on")
	p.wants(all, "durability", "problem", "full_page_writes = off", "switch it on")
	if code != 1 {
		t.Errorf("the exit code is %d", code)
	}
}

// A role without privileges is told which it lacks.
func TestDoctorFindsMissingPrivileges(t *testing.T) {
	p := newPatient(t, servers.Postgres(t))
	role := "poor_" + p.name()[len(p.name())-10:]
	p.exec("CREATE ROLE " + role + "; GRANT USAGE ON SCHEMA sixfold TO " + role + "; GRANT SELECT ON ALL TABLES IN SCHEMA sixfold TO " + role)
	t.Cleanup(func() {
		if _, err := p.pool.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role); err != nil {
			t.Error(err)
		}
	})
	p.runner = p.with("PGOPTIONS=-c role=" + role)
	all, code := p.doctor()
	p.wants(all, "privileges", "problem", `"sixfold"."outbox": the database role lacks DELETE`, `GRANT DELETE ON "sixfold"."outbox"`)
	if code != 1 {
		t.Errorf("the exit code is %d", code)
	}
}

func TestDoctorFindsWhatCannotBeReached(t *testing.T) {
	p := &patient{runner: newRunner(t, "SIXFOLD_DSN=postgres://u@"+nobody+"/db")}
	all, code := p.doctor("--timeout", "20s")
	p.wants(all, "database", "problem", "nobody listens at "+nobody, "start PostgreSQL")
	if code != 3 {
		t.Errorf("the exit code is %d", code)
	}
	p = newPatient(t, servers.Postgres(t))
	all, code = p.doctor("--broker", "nats://"+nobody)
	p.wants(all, "schema", "ok", "", "")
	p.wants(all, "broker", "problem", "nobody listens at "+nobody, "start NATS")
	if code != 3 {
		t.Errorf("the exit code is %d", code)
	}
	n := servers.NATS(t, &servers.NATSOptions{Configure: func(o *server.Options) { o.JetStream = false }})
	u, err := url.Parse(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	all, code = p.doctor("--broker", "nats://"+u.Host)
	p.wants(all, "broker", "problem", "without JetStream", "switch JetStream on")
	if code != 1 {
		t.Errorf("the exit code is %d", code)
	}
}

func TestDoctorLooksAtSQLite(t *testing.T) {
	dsn := "sqlite:" + t.TempDir() + "/a.db"
	p := &patient{runner: newRunner(t, "SIXFOLD_DSN="+dsn)}
	if got := p.run("migrate", "up"); got.code != 0 {
		t.Fatal(got.err)
	}
	if all, code := p.doctor(); code != 0 || len(all) < 5 {
		t.Errorf("a healthy file: code %d, %v", code, all)
	}
	p.runner = p.with("SIXFOLD_DSN=" + dsn + "?_pragma=synchronous(OFF)")
	all, code := p.doctor()
	p.wants(all, "durability", "problem", "synchronous = OFF", "synchronous(FULL)")
	if code != 1 {
		t.Errorf("the exit code is %d", code)
	}
	if got := p.run("outbox", "publish", "--topic", "orders", "--type", "a.b"); got.code != 0 {
		t.Fatal(got.err)
	}
	all, _ = p.doctor("--old-row", "1us")
	p.wants(all, "oldest", "warning", "outbox: the oldest row", "outbox list")
	p.wants(all, "consumers", "problem", "no relay sends", "start a relay")
}
