package cli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sixfold-go/sixfold/store"
)

func (a *app) migrateCommand() *cobra.Command {
	return a.group("migrate", "make and change the tables", a.migrateUp(), a.migrateDown(), a.migrateStatus(), a.migratePrint())
}

func (a *app) migrateUp() *cobra.Command {
	return &cobra.Command{Use: "up", Short: "bring the tables to the version of this program", Args: noArguments, RunE: func(c *cobra.Command, _ []string) error {
		db, err := a.connect(c.Context(), true)
		if err != nil {
			return err
		}
		defer db.close()
		before, err := db.Migrations().Status(c.Context())
		if err != nil {
			return err
		}
		if err := db.Migrate(c.Context()); err != nil {
			return err
		}
		applied := []string{}
		for _, m := range before {
			if !m.Applied {
				applied = append(applied, migrationName(m))
			}
		}
		if a.format == "json" {
			return a.json(map[string]any{"applied": applied})
		}
		for _, name := range applied {
			if err := a.line("applied %s", name); err != nil {
				return err
			}
		}
		return a.line("the tables are up to date")
	}}
}

func migrationName(m store.MigrationStatus) string { return fmt.Sprintf("%04d_%s", m.Version, m.Name) }

func (a *app) migrateDown() *cobra.Command {
	to, yes := -1, false
	c := &cobra.Command{Use: "down --to N --yes", Short: "take migrations back; drops tables with all that is in them", Args: noArguments}
	c.Flags().IntVar(&to, "to", -1, "the `number` of the migration that stays the newest; 0 drops everything")
	c.Flags().BoolVar(&yes, "yes", false, "yes, drop the tables")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if to < 0 {
			return usage("--to is missing, or negative", "write --to 0 to drop everything")
		}
		if err := needYes(yes, "dropping tables"); err != nil {
			return err
		}
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		if err := db.Migrations().Down(c.Context(), to); err != nil {
			return err
		}
		if a.format == "json" {
			return a.json(map[string]int{"version": to})
		}
		return a.line("the schema is at %d", to)
	}
	return c
}

func (a *app) migrateStatus() *cobra.Command {
	return &cobra.Command{Use: "status", Short: "say which migrations are applied", Args: noArguments, RunE: func(c *cobra.Command, _ []string) error {
		db, err := a.connect(c.Context(), false)
		if err != nil {
			return err
		}
		defer db.close()
		all, err := db.Migrations().Status(c.Context())
		if err != nil {
			return err
		}
		type status struct {
			Version int    `json:"version"`
			Name    string `json:"name"`
			Applied bool   `json:"applied"`
			Problem string `json:"problem,omitempty"`
		}
		list, rows := []status{}, [][]string{{"MIGRATION", "APPLIED", "PROBLEM"}}
		for _, m := range all {
			list = append(list, status(m))
			applied := "no"
			if m.Applied {
				applied = "yes"
			}
			rows = append(rows, []string{migrationName(m), applied, m.Problem})
		}
		if a.format == "json" {
			return a.json(list)
		}
		return a.table(rows)
	}}
}

func (a *app) migratePrint() *cobra.Command {
	dialect := ""
	c := &cobra.Command{Use: "print", Short: "print the SQL of all migrations, for psql, mysql or sqlite3; needs no database", Args: noArguments}
	c.Flags().StringVar(&dialect, "dialect", "", "postgres, mysql or sqlite (that of the DSN, else postgres)")
	c.RunE = func(*cobra.Command, []string) error {
		kind := cmp.Or(dialect, "postgres")
		switch where, err := a.parseDSN(); {
		case kind != "sqlite" && kind != "postgres" && kind != "mysql":
			return usage("--dialect "+quote(dialect)+": it is none of postgres, mysql and sqlite", "write --dialect sqlite")
		case dialect == "" && err == nil:
			kind = where.kind
		}
		st, err := a.offline(kind)
		if err != nil {
			return err
		}
		if a.format == "json" {
			return a.json(map[string]string{"sql": st.Migrations().Script()})
		}
		return a.line("%s", st.Migrations().Script())
	}
	return c
}
