package cli

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sixfold-go/sixfold/itest/roles"
	"github.com/sixfold-go/sixfold/itest/servers"
)

// What stands where the tables should be, and what is missing, is named with what to do about it. Nothing is on stdout.
func TestWhatStandsInTheWay(t *testing.T) {
	for name, c := range map[string]struct {
		sql  string
		args []string
		want []string
	}{
		"a view":             {"CREATE SCHEMA sixfold; CREATE VIEW sixfold.outbox AS SELECT 1 AS seq", []string{"migrate", "up"}, []string{`"sixfold"."outbox" is a view`}},
		"other columns":      {"CREATE SCHEMA sixfold; CREATE TABLE sixfold.outbox (id int, mine text)", []string{"migrate", "up"}, []string{"missing columns:", `"partition"`, `other columns: "mine"`, "choose another Schema or Prefix"}},
		"no schema":          {"", []string{"outbox", "stats"}, []string{"do not fit", "sixfold migrate up"}},
		"no schema, writing": {"", []string{"outbox", "publish", "--topic", "a", "--type", "b"}, []string{"do not fit", "sixfold migrate up"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := servers.Postgres(t)
			dsn := p.Database(t)
			if c.sql != "" {
				conn, err := pgx.Connect(t.Context(), dsn)
				if err == nil {
					_, err = conn.Exec(t.Context(), c.sql)
					conn.Close(t.Context())
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			got := newRunner(t, "SIXFOLD_DSN="+dsn).run(c.args...)
			if got.code != 1 || got.out != "" {
				t.Errorf("code %d, %q", got.code, got.all())
			}
			for _, want := range c.want {
				if !strings.Contains(got.err, want) {
					t.Errorf("%q does not say %q", got.err, want)
				}
			}
		})
	}
}

// With the grants of its role each command works, or says which privilege it wants.
func TestCommandsWithTheGrantsOfRoles(t *testing.T) {
	as := roles.On(t, servers.Postgres(t).Database(t), nil)
	application, reader, relay, operator := newRunner(t, "SIXFOLD_DSN="+as.Application), newRunner(t, "SIXFOLD_DSN="+as.Reader), newRunner(t, "SIXFOLD_DSN="+as.Relay), newRunner(t, "SIXFOLD_DSN="+as.Operator)
	publish := []string{"outbox", "publish", "--topic", "orders", "--type", "orders.placed"}
	for _, c := range []struct {
		who  *runner
		args []string
		code int
		says string
	}{
		{application, publish, 0, "-"},
		{application, []string{"outbox", "publish", "--consumer", "shipping", "--type", "orders.placed"}, 0, "-"},
		{reader, []string{"outbox", "stats"}, 0, "(default transport)"},
		{reader, []string{"outbox", "list"}, 0, "orders.placed"},
		{reader, []string{"outbox", "list", "--local"}, 0, "shipping"},
		{reader, []string{"outbox", "show", "1"}, 0, "orders.placed"},
		{reader, []string{"outbox", "show", "0190a000-0000-7000-8000-00000000000a"}, 1, "no message"},
		{reader, []string{"migrate", "status"}, 0, "yes"},
		{reader, publish, 1, "the database role lacks a privilege"},
		{relay, publish, 1, "the database role lacks a privilege"},
		{reader, []string{"outbox", "purge", "--all", "--yes"}, 1, "the database role lacks a privilege"},
		{application, []string{"outbox", "list"}, 1, "the database role lacks a privilege"},
		{operator, []string{"dead", "list"}, 0, ""},
		{operator, []string{"parked", "list"}, 0, ""},
		{operator, []string{"dead", "redrive", "--consumer", "nobody", "--reason", "a try", "--yes"}, 0, ""},
		{operator, []string{"dead", "show", "7"}, 1, "no parked message"},
		{operator, []string{"explain", "0190a000-0000-7000-8000-00000000000a"}, 1, "0190a000"},
		{reader, []string{"dead", "redrive", "--consumer", "nobody", "--reason", "a try", "--yes"}, 1, "the database role lacks a privilege"},
		{application, []string{"dead", "discard", "7", "--reason", "a try", "--yes"}, 1, "the database role lacks a privilege"},
		{relay, []string{"parked", "list"}, 1, "the database role lacks a privilege"},
		{newRunner(t, "SIXFOLD_DSN="+as.Migrator), []string{"outbox", "purge", "--all", "--yes"}, 0, "removed 1"},
	} {
		if got := c.who.run(c.args...); got.code != c.code || !strings.Contains(got.all(), c.says) {
			t.Errorf("%v: code %d, %q; want %d and %q", c.args, got.code, got.all(), c.code, c.says)
		}
	}
}
