package store

import "github.com/sixfold-go/sixfold/outbox"

// Place answers the schema and the name of a table, unquoted, for what is done beside the store, such as COPY. The
// schema is empty in SQLite, which has none.
func (o *Outbox) Place(t outbox.Table) (schema, table string) {
	return o.names.schema, o.names.prefix + t.String()
}
