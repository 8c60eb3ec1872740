// Package tables names the tables of a store, for tests that share one and find it empty: making the tables takes far longer than most
// tests do.
package tables

// Names are those of all tables that have rows of messages, or of who works on them, on every kind of database; a store's options say
// what stands before them. What a migration writes itself, such as its number, is not among them.
func Names() []string {
	return []string{"outbox", "local", "published", "delivered", "inbox", "parked", "line", "attempt", "audit", "node", "lease", "queue", "queue_group", "blob",
		"delayed", "promoted", "schedule", "tick", "saga", "saga_step", "request", "request_place", "answer"}
}
