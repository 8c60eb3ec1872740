package store

import (
	"errors"
	"fmt"
	"strings"
)

// Roles are the names of the database roles that Grants speaks of. Give them to the roles that log in with
// GRANT sixfold_relay TO shop_relay.
type Roles struct {
	// Application publishes, and runs consumers with an inbox and local consumers. Empty: "sixfold_application".
	Application string
	// Relay sends the outbox to a broker. Empty: "sixfold_relay".
	Relay string
	// Migrator owns the schema, and the tables that it makes. Empty: "sixfold_migrator".
	Migrator string
	// Reader reads for statistics and lists. Empty: "sixfold_reader".
	Reader string
	// Broker sends to the database as a broker, and receives from it. Give it to the roles of whoever uses transport/sqlqueue.
	// Empty: "sixfold_broker".
	Broker string
	// Operator redrives, edits, discards and releases what is parked, and reads what the reader does. Empty: "sixfold_operator".
	Operator string
}

// A duty is one of the six things that a role is for.
type duty int

const (
	application duty = iota
	relaying
	migrating
	reading
	operating
	brokering
)

// A grant is what one duty needs on one object.
type grant struct {
	duty       duty
	object     string
	privileges string
}

// tableGrants is all that each duty needs; a test takes them away one by one. FOR UPDATE needs UPDATE.
var tableGrants = []grant{
	{application, "schema_version", "SELECT"},
	{application, "outbox", "INSERT"},
	{application, "local", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "published", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "delivered", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "inbox", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "parked", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "line", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "attempt", "SELECT, INSERT, DELETE"},
	{application, "node", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "lease", "SELECT, INSERT, UPDATE"},
	{application, "blob", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "delayed", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "promoted", "SELECT, INSERT, DELETE"},
	{application, "schedule", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "tick", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "saga", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "saga_step", "SELECT, INSERT, DELETE"},
	{application, "answer", "SELECT, INSERT, UPDATE, DELETE"},

	{relaying, "schema_version", "SELECT"},
	{relaying, "outbox", "SELECT, DELETE"},
	{relaying, "published", "SELECT, UPDATE, DELETE"},
	{relaying, "delivered", "SELECT, INSERT, UPDATE, DELETE"},
	{relaying, "parked", "INSERT"},
	{relaying, "node", "SELECT, INSERT, UPDATE, DELETE"},
	{relaying, "lease", "SELECT, INSERT, UPDATE"},
	{relaying, "blob", "SELECT, INSERT, UPDATE"},

	{reading, "schema_version", "SELECT"},
	{reading, "outbox", "SELECT"},
	{reading, "local", "SELECT"},
	{reading, "inbox", "SELECT"},
	{reading, "delivered", "SELECT"},
	{reading, "parked", "SELECT"},
	{reading, "line", "SELECT"},
	{reading, "attempt", "SELECT"},
	{reading, "audit", "SELECT"},
	{reading, "lease", "SELECT"},
	{reading, "node", "SELECT"},
	{reading, "delayed", "SELECT"},
	{reading, "schedule", "SELECT"},
	{reading, "tick", "SELECT"},
	{reading, "saga", "SELECT"},
	{reading, "saga_step", "SELECT"},

	{operating, "schema_version", "SELECT"},
	{operating, "outbox", "SELECT, INSERT"},
	{operating, "local", "SELECT, INSERT"},
	{operating, "inbox", "SELECT, UPDATE"},
	{operating, "delivered", "SELECT"},
	{operating, "parked", "SELECT, UPDATE, DELETE"},
	{operating, "line", "SELECT, INSERT, UPDATE, DELETE"},
	{operating, "attempt", "SELECT, DELETE"},
	{operating, "audit", "SELECT, INSERT"},
	{operating, "lease", "SELECT"},
	{operating, "node", "SELECT"},
	{operating, "delayed", "SELECT, UPDATE, DELETE"},
	{operating, "promoted", "SELECT"},
	{operating, "schedule", "SELECT, INSERT, UPDATE"},
	{operating, "tick", "SELECT, INSERT"},
	{operating, "saga", "SELECT, UPDATE"},
	{operating, "saga_step", "SELECT, INSERT"},

	{brokering, "schema_version", "SELECT"},
	{brokering, "queue", "SELECT, INSERT, UPDATE, DELETE"},
	{brokering, "queue_group", "SELECT, INSERT, UPDATE, DELETE"},
	{brokering, "node", "SELECT, INSERT, UPDATE, DELETE"},
	{brokering, "lease", "SELECT, INSERT, UPDATE, DELETE"},
	{brokering, "request", "SELECT, INSERT, DELETE"},
	{brokering, "request_place", "SELECT, INSERT, UPDATE, DELETE"},
}

// functionGrants are the functions that each duty runs. Their names are unique, so they need no types.
var functionGrants = []grant{
	{application, "local_read", "EXECUTE"},
	{application, "local_look_up", "EXECUTE"},
	{application, "local_settle", "EXECUTE"},
	{application, "local_claim", "EXECUTE"},
	{application, "local_count_suspects", "EXECUTE"},
	{application, "lease_take", "EXECUTE"},
	{application, "delayed_promote", "EXECUTE"},
	{application, "delayed_cancel", "EXECUTE"},
	{application, "delayed_move", "EXECUTE"},
	{application, "schedule_next", "EXECUTE"},
	{application, "schedule_find", "EXECUTE"},
	{application, "schedule_due", "EXECUTE"},
	{application, "schedule_unhandled", "EXECUTE"},
	{application, "schedule_save", "EXECUTE"},
	{application, "tick_enter", "EXECUTE"},
	{application, "tick_list", "EXECUTE"},
	{application, "tick_purge", "EXECUTE"},
	{application, "saga_load", "EXECUTE"},
	{application, "saga_save", "EXECUTE"},
	{application, "inbox_record", "EXECUTE"},
	{application, "park", "EXECUTE"},
	{application, "parked_claim", "EXECUTE"},
	{application, "parked_take", "EXECUTE"},
	{application, "parked_fail", "EXECUTE"},
	{application, "parked_keep", "EXECUTE"},
	{application, "parked_give_back", "EXECUTE"},
	{application, "partition_of", "EXECUTE"},
	{application, "publish_attrs", "EXECUTE"},
	{application, "publish", "EXECUTE"},
	{application, "publish_local", "EXECUTE"},

	{operating, "saga_load", "EXECUTE"},
	{operating, "saga_save", "EXECUTE"},

	{relaying, "outbox_read", "EXECUTE"},
	{relaying, "outbox_look_up", "EXECUTE"},
	{relaying, "outbox_settle", "EXECUTE"},
	{relaying, "outbox_bury", "EXECUTE"},
	{relaying, "lease_take", "EXECUTE"},

	{reading, "tick_list", "EXECUTE"},

	{operating, "delayed_cancel", "EXECUTE"},
	{operating, "delayed_move", "EXECUTE"},
	{operating, "schedule_find", "EXECUTE"},
	{operating, "tick_list", "EXECUTE"},

	{brokering, "queue_lock", "EXECUTE"},
	{brokering, "queue_send", "EXECUTE"},
	{brokering, "queue_attach", "EXECUTE"},
	{brokering, "queue_keep", "EXECUTE"},
	{brokering, "queue_detach", "EXECUTE"},
	{brokering, "queue_read", "EXECUTE"},
	{brokering, "queue_settle", "EXECUTE"},
	{brokering, "queue_take", "EXECUTE"},
	{brokering, "queue_purge", "EXECUTE"},
	{brokering, "lease_take", "EXECUTE"},
}

// RoleScript is SQL that makes the roles where they are missing, and the schema, which the migrator owns (on MySQL, where
// nobody owns anything, it may do there what migrations do). It is for who may do that, once, before the first migration.
// SQLite has no roles.
func (s *Store) RoleScript(r Roles) (string, error) {
	names, err := s.roles(r)
	if err != nil {
		return "", err
	}
	if _, ok := s.dialect.(mysql); ok {
		return s.myRoleScript(names), nil
	}
	var b strings.Builder
	b.WriteString("-- Roles of Sixfold, and the schema. For a superuser, before the first migration.\nBEGIN;\nDO $sixfold$\nBEGIN\n")
	for _, n := range names {
		fmt.Fprintf(&b, "  IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s) THEN\n    CREATE ROLE %s NOLOGIN;\n  END IF;\n", quoteLiteral(n), quoteIdentifier(n))
	}
	b.WriteString("END\n$sixfold$;\n")
	fmt.Fprintf(&b, "CREATE SCHEMA IF NOT EXISTS %s AUTHORIZATION %s;\nCOMMIT;\n", quoteIdentifier(s.names.schema), quoteIdentifier(names[migrating]))
	return b.String(), nil
}

// GrantScript is SQL that gives the roles exactly what they need on the tables and functions, and takes from everybody the
// right to run the functions, which PostgreSQL gives by default. It is for the owner of the tables (on MySQL, who may grant), after
// each migration; running it again changes nothing. SQLite has no roles.
func (s *Store) GrantScript(r Roles) (string, error) {
	names, err := s.roles(r)
	if err != nil {
		return "", err
	}
	if _, ok := s.dialect.(mysql); ok {
		return s.myGrantScript(names), nil
	}
	schema := quoteIdentifier(s.names.schema)
	var b strings.Builder
	b.WriteString("-- What the roles of Sixfold may do. For the owner of the tables, after each migration.\nBEGIN;\n")
	fmt.Fprintf(&b, "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA %s FROM PUBLIC;\n", schema)
	fmt.Fprintf(&b, "GRANT USAGE, CREATE ON SCHEMA %s TO %s;\n", schema, quoteIdentifier(names[migrating]))
	for _, d := range []duty{application, relaying, reading, operating, brokering} {
		fmt.Fprintf(&b, "\nGRANT USAGE ON SCHEMA %s TO %s;\n", schema, quoteIdentifier(names[d]))
		for _, g := range tableGrants {
			if g.duty == d {
				fmt.Fprintf(&b, "GRANT %s ON %s TO %s;\n", g.privileges, s.names.of(g.object), quoteIdentifier(names[d]))
			}
		}
		for _, g := range functionGrants {
			if g.duty == d {
				fmt.Fprintf(&b, "GRANT EXECUTE ON FUNCTION %s TO %s;\n", s.names.of(g.object), quoteIdentifier(names[d]))
			}
		}
	}
	b.WriteString("COMMIT;\n")
	return b.String(), nil
}

// roles answers the name for each duty.
func (s *Store) roles(r Roles) (names [6]string, err error) {
	switch s.dialect.(type) {
	case postgres, mysql:
	default:
		return names, errors.New("store: grants: SQLite has no roles; protect the file with the rights of the file system")
	}
	var errs []error
	seen := map[string]bool{}
	for d, n := range []struct{ option, given, fallback string }{
		application: {"Application", r.Application, "sixfold_application"}, relaying: {"Relay", r.Relay, "sixfold_relay"},
		migrating: {"Migrator", r.Migrator, "sixfold_migrator"}, reading: {"Reader", r.Reader, "sixfold_reader"},
		operating: {"Operator", r.Operator, "sixfold_operator"}, brokering: {"Broker", r.Broker, "sixfold_broker"},
	} {
		name := n.given
		if name == "" {
			name = n.fallback
		}
		if seen[name] {
			errs = append(errs, fmt.Errorf("store: role %s %s: another role has that name; give each its own", n.option, quoteCut(name)))
		}
		seen[name] = true
		errs = append(errs, checkRole(n.option, name))
		names[d] = name
	}
	return names, errors.Join(errs...)
}

// checkRole refuses what checkName does for names of tables, since the script is pasted as well.
func checkRole(option, name string) error {
	if err := checkName("role "+option, name, maxIdentifier, ""); err != nil {
		return err
	}
	if strings.EqualFold(name, "public") || strings.EqualFold(name, "none") || strings.HasPrefix(name, "pg_") {
		return fmt.Errorf("store: role %s %s: PostgreSQL keeps that name for itself; choose another", option, quoteCut(name))
	}
	return nil
}
