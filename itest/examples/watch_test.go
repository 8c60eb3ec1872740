package examples

import (
	"strings"
	"testing"
)

// The queries of docs/production.md run, and see the tables.
func TestWatchPostgres(t *testing.T) {
	pool, st := openPostgres(t)
	if err := st.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	queries := strings.Split(strings.TrimSpace(script(t, "watch_postgres.sql")), ";\n")
	if len(queries) != 4 {
		t.Fatalf("%d queries", len(queries))
	}
	seen := map[string]bool{}
	for _, q := range queries {
		rows, err := pool.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			seen[string(rows.RawValues()[0])] = true
		}
		if err := rows.Err(); err != nil {
			t.Errorf("%s: %v", q, err)
		}
	}
	if !seen["outbox"] || !seen["inbox"] {
		t.Errorf("the last query shows %v", seen)
	}
}
