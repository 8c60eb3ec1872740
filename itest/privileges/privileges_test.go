package privileges

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold/store"
)

// duties are the roles with what each must be able to do.
func (w *world) duties() map[string]struct {
	role string
	jobs map[string]job
} {
	type duty = struct {
		role string
		jobs map[string]job
	}
	return map[string]duty{
		"application": {w.roles.Application, map[string]job{"publish": publish, "record": record, "park": park, "local": local, "blobs": blobs, "scheduled": scheduled, "sagas": sagas, "remember": remember}},
		"relay":       {w.roles.Relay, map[string]job{"relay": relay, "upload": upload}},
		"migrator":    {w.roles.Migrator, map[string]job{"migrate": migrate}},
		"broker":      {w.roles.Broker, map[string]job{"broker": broker}},
		"reader":      {w.roles.Reader, map[string]job{"stats": stats, "letters": letters, "schedules": listSchedules, "sagas": listSagas}},
		"operator":    {w.roles.Operator, map[string]job{"stats": stats, "letters": letters, "operate": operate, "schedules": operateSchedules, "list schedules": listSchedules, "sagas": operateSagas, "list sagas": listSagas}},
	}
}

// worlds runs a test on each kind of database.
func worlds(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("PostgreSQL", func(t *testing.T) { test(t, newWorld(t)) })
	t.Run("MariaDB", func(t *testing.T) { test(t, newMariaWorld(t)) })
}

func TestEachRoleDoesItsWork(t *testing.T) { worlds(t, eachRoleDoesItsWork) }

func eachRoleDoesItsWork(t *testing.T, w *world) {
	for name, d := range w.duties() {
		p, st := w.as(d.role)
		for what, do := range d.jobs {
			w.must(w.seed(t.Context()))
			if err := do(t.Context(), w, p, st); err != nil {
				t.Errorf("%s cannot do %s: %v", name, what, err)
			}
		}
	}
}

// A role does the work of no other one.
func TestNoRoleDoesAnothersWork(t *testing.T) { worlds(t, noRoleDoesAnothersWork) }

func noRoleDoesAnothersWork(t *testing.T, w *world) {
	for name, other := range map[string]struct {
		role string
		do   job
	}{
		"a reader publishes":         {w.roles.Reader, publish},
		"a reader relays":            {w.roles.Reader, relay},
		"a relay publishes":          {w.roles.Relay, publish},
		"a broker publishes":         {w.roles.Broker, publish},
		"an application is a broker": {w.roles.Application, broker},
		"a relay parks":              {w.roles.Relay, park},
		"a reader redrives":          {w.roles.Reader, operate},
		"an application redrives":    {w.roles.Application, operate},
		"an operator publishes":      {w.roles.Operator, publish},
		"an operator handles":        {w.roles.Operator, local},
		"an operator relays":         {w.roles.Operator, relay},
		"a relay uses the inbox":     {w.roles.Relay, record},
		"a relay handles":            {w.roles.Relay, local},
		"an application relays":      {w.roles.Application, relay},
		"an application migrates":    {w.roles.Application, migrate},
		"a relay migrates":           {w.roles.Relay, migrate},
		"an application reads rows":  {w.roles.Application, stats},
		"a reader uploads":           {w.roles.Reader, upload},
		"a relay purges blobs":       {w.roles.Relay, blobs},
	} {
		w.must(w.seed(t.Context()))
		p, st := w.as(other.role)
		if err := other.do(t.Context(), w, p, st); err == nil || !denied(err) && !strings.Contains(err.Error(), "must be owner") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// grants are those that a role has, each as the SQL that takes it away and gives it back.
func (w *world) grants(role string) (all []string) {
	if w.maria != nil {
		return w.maria.grants(w, role)
	}
	rows, err := w.owner.Query(w.Context(), `
SELECT format('%s ON %I.%I', privilege_type, table_schema, table_name) FROM information_schema.role_table_grants WHERE grantee = $1 AND table_schema = 'sixfold'
  AND NOT EXISTS (SELECT 1 FROM pg_tables t WHERE t.schemaname = 'sixfold' AND t.tablename = table_name AND t.tableowner = $1)
UNION ALL SELECT format('EXECUTE ON FUNCTION %s', p.oid::regprocedure) FROM pg_roles r, pg_proc p, aclexplode(p.proacl) a
  WHERE r.rolname = $1 AND p.pronamespace = 'sixfold'::regnamespace AND a.grantee = r.oid AND p.proowner <> r.oid
UNION ALL SELECT format('%s ON SCHEMA sixfold', a.privilege_type) FROM pg_roles r, pg_namespace n, aclexplode(n.nspacl) a WHERE r.rolname = $1 AND n.nspname = 'sixfold' AND a.grantee = r.oid`,
		role)
	w.must(err)
	all, err = pgx.CollectRows(rows, pgx.RowTo[string])
	w.must(err)
	return all
}

// With one grant fewer something of the role's work fails, for want of that privilege.
func TestNoGrantIsTooMuch(t *testing.T) { worlds(t, noGrantIsTooMuch) }

func noGrantIsTooMuch(t *testing.T, w *world) {
	total := 0
	for name, d := range w.duties() {
		all := w.grants(d.role)
		if len(all) < 2 {
			t.Fatalf("%s has the grants %v; are they looked for where they are?", name, all)
		}
		total += len(all)
		jobs := slices.Sorted(maps.Keys(d.jobs))
		for _, g := range all {
			role := w.quoted(d.role)
			w.exec("REVOKE " + g + " FROM " + role)
			p, st := w.as(d.role)
			var failed error
			for i, what := range jobs {
				w.must(w.seed(t.Context()))
				if err := d.jobs[what](t.Context(), w, p, st); err != nil {
					if failed = errors.Join(failed, fmt.Errorf("%s: %w", what, err)); denied(failed) {
						// Emptying the tables for every other job takes minutes. It begins with the next grant, which often is one on the same table.
						jobs = slices.Insert(slices.Delete(jobs, i, i+1), 0, what)
						break
					}
				}
			}
			if !denied(failed) && !spare(g) {
				t.Errorf("%s does its work without %s: %v", name, g, failed)
			}
			w.exec("GRANT " + g + " TO " + role)
			if w.maria != nil && d.role == w.roles.Migrator {
				w.maria.repair(w)
			}
		}
	}
	t.Logf("%d grants", total)
}

func TestBadRolesAreRefused(t *testing.T) {
	w := newWorld(t)
	for want, r := range map[string]store.Roles{
		"another role has that name": {Relay: "x", Reader: "x"},
		"keeps that name for itself": {Relay: "pg_monitor"},
		"contains ';'":               {Application: "a; DROP TABLE users--"},
		"the limit is 63":            {Migrator: strings.Repeat("m", 64)},
	} {
		for _, script := range []func(store.Roles) (string, error){w.st.RoleScript, w.st.GrantScript} {
			if _, err := script(r); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: %v, want %s", r, err, want)
			}
		}
	}
}
