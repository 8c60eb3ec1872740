package store

import "strings"

// Script is every migration as one text for psql, or the mysql or sqlite3 shell, with the schema and the version table that the
// migrations need: run on an empty database it leaves what Up leaves. It is one transaction, so a failure leaves nothing; on MySQL, which
// has no such transactions, it leaves what was made before it.
// Only Up sees what stands in the way before it begins.
func (m *Migrations) Script() string {
	begin, preamble, commit := "BEGIN;\n", "", "COMMIT;\n"
	switch m.s.dialect.(type) {
	case sqlite:
		begin, preamble = "BEGIN IMMEDIATE;\n", m.s.names.fill(liteVersionTable)
	case mysql:
		begin, commit = "", ""
		if m.s.names.schema != "" {
			begin = myQuoted("CREATE DATABASE IF NOT EXISTS "+quoteIdentifier(m.s.names.schema)) + ";\n"
		}
		preamble = myQuoted(m.s.names.fill(myVersionTable))
	default:
		preamble = "CREATE SCHEMA IF NOT EXISTS " + quoteIdentifier(m.s.names.schema) + ";\n" + m.s.names.fill(pgVersionTable)
	}
	var b strings.Builder
	b.WriteString("-- The tables of Sixfold. Run it once, on a database that has none of them.\n" + begin + preamble + ";\n\n")
	for i := range m.all {
		b.WriteString(strings.TrimSpace(m.all[i].Up) + "\n\n")
	}
	b.WriteString(commit)
	return b.String()
}
