package store

import (
	"fmt"
	"strings"
)

// myTableGrants is tableGrants on MySQL, where there are no functions. FOR UPDATE and LOCK IN SHARE MODE need, on MySQL 8, one
// of UPDATE and DELETE as well; MariaDB does not ask for it.
var myTableGrants = []grant{
	{application, "schema_version", "SELECT"},
	{application, "gate", "SELECT, UPDATE"},
	{application, "outbox", "INSERT"},
	{application, "local", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "published", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "delivered", "SELECT, INSERT, DELETE"},
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
	{application, "tick", "SELECT, INSERT, DELETE"},
	{application, "saga", "SELECT, INSERT, UPDATE, DELETE"},
	{application, "saga_step", "SELECT, INSERT, DELETE"},
	{application, "answer", "SELECT, INSERT, UPDATE, DELETE"},

	{relaying, "schema_version", "SELECT"},
	{relaying, "gate", "SELECT, UPDATE"},
	{relaying, "outbox", "SELECT, DELETE"},
	{relaying, "published", "SELECT, DELETE"},
	{relaying, "delivered", "SELECT, INSERT, DELETE"},
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
	{operating, "gate", "SELECT, UPDATE"},
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
	{brokering, "queue_topic", "SELECT, INSERT, UPDATE, DELETE"},
	{brokering, "node", "SELECT, INSERT, UPDATE, DELETE"},
	{brokering, "lease", "SELECT, INSERT, UPDATE, DELETE"},
	{brokering, "request", "SELECT, INSERT, DELETE"},
	{brokering, "request_place", "SELECT, INSERT, UPDATE, DELETE"},
}

// myMigrating is what migrations do, in the whole database; ALTER and INDEX are for later ones.
const myMigrating = "CREATE, DROP, ALTER, INDEX, SELECT, INSERT, DELETE"

// myRoleScript is RoleScript on MySQL.
func (s *Store) myRoleScript(names [6]string) string {
	var b strings.Builder
	b.WriteString("-- Roles of Sixfold, and the database. For an administrator, before the first migration.\n")
	for _, n := range names {
		fmt.Fprintf(&b, "CREATE ROLE IF NOT EXISTS %s;\n", quoteIdentifier(n))
	}
	where := "*"
	if s.names.schema != "" {
		where = quoteIdentifier(s.names.schema) + ".*"
		fmt.Fprintf(&b, "CREATE DATABASE IF NOT EXISTS %s;\n", quoteIdentifier(s.names.schema))
	}
	fmt.Fprintf(&b, "GRANT %s ON %s TO %s;\n", myMigrating, where, quoteIdentifier(names[migrating]))
	return myQuoted(b.String())
}

// myGrantScript is GrantScript on MySQL.
func (s *Store) myGrantScript(names [6]string) string {
	var b strings.Builder
	b.WriteString("-- What the roles of Sixfold may do. For an administrator, after each migration.\n")
	for _, d := range []duty{application, relaying, reading, operating, brokering} {
		b.WriteString("\n")
		for _, g := range myTableGrants {
			if g.duty == d {
				fmt.Fprintf(&b, "GRANT %s ON %s TO %s;\n", g.privileges, s.names.of(g.object), quoteIdentifier(names[d]))
			}
		}
	}
	return myQuoted(b.String())
}
