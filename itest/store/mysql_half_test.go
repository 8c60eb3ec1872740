package store

import (
	"fmt"
	"strings"
	"testing"
)

// A process that died half way through a migration, in either direction, has noted it, and whoever migrates next takes back what there is of it.
func TestMariaDBHalfAMigration(t *testing.T) {
	st, db := onMariaDB(t, nil)
	all := st.Migrations().All()
	last := 0
	if testing.Short() {
		last = len(all) - 2
	}
	exec := func(q string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	note := func(version int) {
		t.Helper()
		exec(fmt.Sprintf("DELETE FROM sixfold_schema_version WHERE version = %d", version))
		exec(fmt.Sprintf("INSERT INTO sixfold_schema_version (version, name, checksum, serves) VALUES (-%d, 'begun', '', 0)", version))
	}
	for v := len(all); v > last; v-- {
		for _, begun := range []int{0, 1} { // statements
			must(t, st.Migrations().Down(t.Context(), v-1))
			note(v)
			for _, q := range strings.SplitAfterN(all[v-1].Up, ";\n", begun+1)[:begun] {
				exec(q)
			}
			if err := st.Migrate(t.Context()); err != nil {
				t.Fatalf("after %d statements of the way up of %d: %v", begun, v, err)
			}
		}
		must(t, st.Migrations().Down(t.Context(), v))
		note(v)
		exec(strings.SplitAfterN(all[v-1].Down, ";\n", 2)[0])
		if err := st.Migrations().Down(t.Context(), v-1); err != nil {
			t.Fatalf("after a statement of the way down of %d: %v", v, err)
		}
		must(t, st.Migrate(t.Context()))
	}
	status, err := st.Migrations().Status(t.Context())
	must(t, err)
	for _, m := range status {
		if !m.Applied || m.Problem != "" {
			t.Errorf("%+v", m)
		}
	}
}
