package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
	"github.com/sixfold-go/sixfold/store"
)

func TestTenProcessesMigrateAtOnce(t *testing.T) {
	dsn := servers.Postgres(t).Database(t)
	var all sync.WaitGroup
	for range 10 {
		st, err := store.Postgres(sqltx.PgxDB(pool(t, dsn)), nil)
		must(t, err)
		all.Go(func() {
			if err := st.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestUpDownAndStatus(t *testing.T) {
	st, _ := migrated(t, nil)
	m := st.Migrations()
	must(t, m.Down(t.Context(), 0))
	status, err := m.Status(t.Context())
	must(t, err)
	if len(status) != len(m.All()) || status[0].Applied {
		t.Errorf("after going down: %+v", status)
	}
	if _, err := st.Outbox().Keeper().Check(t.Context()); !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "sixfold migrate up") {
		t.Errorf("a check without tables: %v", err)
	}
	must(t, m.Up(t.Context()))
	status, err = m.Status(t.Context())
	if err != nil || !status[len(status)-1].Applied || status[0].Problem != "" {
		t.Errorf("after going up: %+v, %v", status, err)
	}
	if err := m.Down(t.Context(), 99); err == nil {
		t.Error("migrated down to a version that is not there")
	}
}

func TestPrintedScriptsMigrateByHand(t *testing.T) {
	st, p := migrated(t, nil)
	must(t, st.Migrations().Down(t.Context(), 0))
	for _, m := range st.Migrations().All() {
		_, err := p.Exec(t.Context(), m.Up) // as psql would: one script
		must(t, err)
	}
	must(t, st.Migrate(t.Context()))
	_, err := st.Outbox().Keeper().Check(t.Context())
	must(t, err)
}

func TestWhatStandsInTheWayIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		want []string
	}{
		"view":             {"CREATE SCHEMA sixfold; CREATE VIEW sixfold.outbox AS SELECT 1", []string{`"sixfold"."outbox" is a view`, "rename"}},
		"other columns":    {"CREATE SCHEMA sixfold; CREATE TABLE sixfold.outbox (seq bigint, partition int, mine text)", []string{"missing columns: ", `"attempts"`, `other columns: "mine"`}},
		"half a migration": {"CREATE SCHEMA sixfold; CREATE TABLE sixfold.published (claim text, id uuid, until timestamptz)", []string{"in part by hand", "drop"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := pool(t, servers.Postgres(t).Database(t))
			_, err := p.Exec(t.Context(), c.sql)
			must(t, err)
			st, err := store.Postgres(sqltx.PgxDB(p), nil)
			must(t, err)
			err = st.Migrate(t.Context())
			if !errors.Is(err, store.ErrSchema) {
				t.Fatalf("migrated over it: %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v: does not say %s", err, w)
				}
			}
			var n int
			must(t, p.QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'sixfold' AND tablename IN ('local', 'schema_version')").Scan(&n))
			if n != 0 {
				t.Error("a refused migration left something behind")
			}
		})
	}
}

func TestAlteredMigrationIsRefused(t *testing.T) {
	st, p := migrated(t, nil)
	_, err := p.Exec(t.Context(), "UPDATE sixfold.schema_version SET checksum = 'x'")
	must(t, err)
	_, checked := st.Outbox().Keeper().Check(t.Context())
	for what, err := range map[string]error{"up": st.Migrate(t.Context()), "down": st.Migrations().Down(t.Context(), 0), "check": checked} {
		if !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestNewerSchemaServesOlderPrograms(t *testing.T) {
	st, p := migrated(t, nil)
	known, err := st.Migrations().Status(t.Context())
	must(t, err)
	newer := len(known) + 1
	for _, c := range []struct {
		serves string
		ok     bool
	}{{"1", true}, {strconv.Itoa(newer), false}} {
		_, err := p.Exec(t.Context(), fmt.Sprintf("DELETE FROM sixfold.schema_version WHERE version = %d; INSERT INTO sixfold.schema_version (version, name, checksum, serves) VALUES (%[1]d, 'later', '', %s)", newer, c.serves))
		must(t, err)
		_, err = st.Outbox().Keeper().Check(t.Context())
		if (err == nil) != c.ok || !c.ok && !strings.Contains(err.Error(), "update the program") {
			t.Errorf("a schema that serves %s and up: %v", c.serves, err)
		}
		if err := st.Migrate(t.Context()); err != nil {
			t.Errorf("an older program migrates: %v", err)
		}
		if err := st.Migrations().Down(t.Context(), 0); err == nil {
			t.Error("an older program took a newer migration back")
		}
	}
}

// A service that migrates when it starts needs no more than its grants where somebody with more rights has done it.
func TestMigratingNothingNeedsNoRights(t *testing.T) {
	as := roles.On(t, servers.Postgres(t).Database(t), nil)
	for _, dsn := range []string{as.Application, as.Relay, as.Reader, as.Operator} {
		st, err := store.Postgres(sqltx.PgxDB(pool(t, dsn)), nil)
		must(t, err)
		must(t, st.Migrate(t.Context()))
	}
	st, err := store.Postgres(sqltx.PgxDB(pool(t, as.Application)), &store.Options{Schema: "another"})
	must(t, err)
	if err := st.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "CREATE SCHEMA") {
		t.Errorf("where everything is missing: %v", err)
	}
}

func TestMissingPrivilegesAreNamed(t *testing.T) {
	dsn := servers.Postgres(t).Database(t)
	st, err := store.Postgres(sqltx.PgxDB(pool(t, dsn)), nil)
	must(t, err)
	config, err := pgxpool.ParseConfig(dsn)
	must(t, err)
	owner := pool(t, dsn)
	_, err = owner.Exec(t.Context(), "CREATE ROLE sixfold_poor")
	must(t, err)
	t.Cleanup(func() {
		_, err := owner.Exec(context.Background(), "DROP OWNED BY sixfold_poor; DROP ROLE sixfold_poor")
		if err != nil {
			t.Error(err)
		}
	})
	config.ConnConfig.RuntimeParams["role"] = "sixfold_poor"
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(p.Close)
	poor, err := store.Postgres(sqltx.PgxDB(p), nil)
	must(t, err)
	if err := poor.Migrate(t.Context()); err == nil || !strings.Contains(err.Error(), "CREATE SCHEMA") {
		t.Errorf("a role that may not create a schema migrates: %v", err)
	}
	must(t, st.Migrate(t.Context()))
	if _, err := poor.Outbox().Keeper().Check(t.Context()); err == nil || !strings.Contains(err.Error(), "privilege") {
		t.Errorf("a role without any privilege: %v", err)
	}
	_, err = owner.Exec(t.Context(), "GRANT USAGE ON SCHEMA sixfold TO sixfold_poor; GRANT SELECT ON ALL TABLES IN SCHEMA sixfold TO sixfold_poor")
	must(t, err)
	if _, err := poor.Outbox().Keeper().Check(t.Context()); err == nil || !strings.Contains(err.Error(), "GRANT INSERT, UPDATE, DELETE") {
		t.Errorf("a role that may only read: %v", err)
	}
	_, err = owner.Exec(t.Context(), "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sixfold TO sixfold_poor")
	must(t, err)
	_, err = poor.Outbox().Keeper().Check(t.Context())
	must(t, err)
	put(t, poor, sqltx.PgxDB(p), row("k")) // an identity column needs no privilege on its sequence
}

func TestMissingTablesSayWhatToRun(t *testing.T) {
	p := pool(t, servers.Postgres(t).Database(t))
	st, err := store.Postgres(sqltx.PgxDB(p), nil)
	must(t, err)
	_, err = st.Outbox().Queue(outbox.ToBroker).Read(t.Context(), 0, 1, everything(""))
	if !errors.Is(err, store.ErrSchema) || !strings.Contains(err.Error(), "sixfold migrate up") {
		t.Errorf("reading without tables: %v", err)
	}
}

func TestSettingsThatLoseMessagesAreWarnedOf(t *testing.T) { // guarantees: O4
	dsn := servers.Postgres(t).Database(t)
	config, err := pgxpool.ParseConfig(dsn)
	must(t, err)
	config.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	p, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(p.Close)
	st, err := store.Postgres(sqltx.PgxDB(p), nil)
	must(t, err)
	must(t, st.Migrate(t.Context()))
	warnings, err := st.Outbox().Keeper().Check(t.Context())
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "synchronous_commit = off") {
		t.Errorf("%q, %v", warnings, err)
	}
}
