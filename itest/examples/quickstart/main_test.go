package main

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// output stops the program once it has shipped.
type output struct {
	strings.Builder
	stop context.CancelFunc
}

func (o *output) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "shipped") {
		o.stop()
	}
	return o.Builder.Write(p)
}

// The quick start places an order and ships it, once, and does so again on the same file.
func TestQuickStart(t *testing.T) { // guarantees: O1, I1
	file := filepath.Join(t.TempDir(), "shop.db")
	for n := 1; n <= 2; n++ {
		ctx, stop := context.WithCancel(t.Context())
		out := &output{stop: stop}
		if err := run(ctx, file, out); err != nil {
			t.Fatal(err)
		}
		lines := strings.Fields(out.String())
		if len(lines) != 4 || lines[0] != "placed" || lines[2] != "shipped" || lines[1] != lines[3] {
			t.Errorf("run %d printed %q", n, out)
		}
		if got := count(t, file, "orders"); got != n {
			t.Errorf("after run %d there are %d orders", n, got)
		}
		if got := count(t, file, "shipments"); got != n {
			t.Errorf("after run %d there are %d shipments", n, got)
		}
	}
}

func count(t *testing.T, file, table string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
