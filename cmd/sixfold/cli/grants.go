package cli

import (
	"cmp"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/store"
)

func (a *app) grantsCommand() *cobra.Command {
	var r store.Roles
	roles, dialect := false, ""
	c := &cobra.Command{Use: "grants", Short: "print the SQL that gives six roles what they need and no more; needs no database", Args: noArguments,
		Long: `Print the SQL that gives the roles of an application, a relay, a migrator, a reader, an operator and a broker
exactly what they need on PostgreSQL, MariaDB or MySQL. First, before the tables are made:
sixfold grants --roles, for a superuser. Then, after each migration: sixfold grants, for the owner
of the tables.`}
	f := c.Flags()
	f.StringVar(&dialect, "dialect", "", "postgres or mysql (that of the DSN, else postgres)")
	f.BoolVar(&roles, "roles", false, "print what makes the roles and the schema instead")
	f.StringVar(&r.Application, "application", "sixfold_application", "`role` that publishes, and runs consumers")
	f.StringVar(&r.Relay, "relay", "sixfold_relay", "`role` that sends to a broker")
	f.StringVar(&r.Migrator, "migrator", "sixfold_migrator", "`role` that owns the schema")
	f.StringVar(&r.Reader, "reader", "sixfold_reader", "`role` that looks, as outbox stats, list and show do")
	f.StringVar(&r.Broker, "broker", "sixfold_broker", "`role` that sends to and receives from the database as a broker")
	f.StringVar(&r.Operator, "operator", "sixfold_operator", "`role` that sends dead letters again, edits and discards them")
	c.RunE = func(*cobra.Command, []string) error {
		kind := cmp.Or(dialect, "postgres")
		switch where, err := a.parseDSN(); {
		case kind != "postgres" && kind != "mysql":
			return usage("--dialect "+quote(dialect)+": it is neither postgres nor mysql", "write --dialect mysql; SQLite has no roles")
		case dialect == "" && err == nil && where.kind == "mysql":
			kind = where.kind
		}
		st, err := a.offline(kind)
		if err != nil {
			return err
		}
		script := st.GrantScript
		if roles {
			script = st.RoleScript
		}
		text, err := script(r)
		if err != nil {
			f := asFailure(err)
			return usage(f.Message, f.Hint)
		}
		if a.format == "json" {
			return a.json(map[string]string{"sql": text})
		}
		return a.line("%s", text)
	}
	return c
}
