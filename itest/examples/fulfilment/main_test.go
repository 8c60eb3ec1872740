package main

import (
	"context"
	"database/sql"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	servers.Main(m)
}

// One order arrives, one is undone, and one is stuck until a person acts; stock and money are where they should be. guarantees: S2, S3
func TestFulfilment(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	file := filepath.Join(t.TempDir(), "shop.db")
	var out strings.Builder
	if err := run(ctx, file, &out); err != nil {
		t.Fatalf("after %s: %v", out.String(), err)
	}
	const want = `o-1 is accepted
o-1 is shipped: parcel of o-1
o-1 is completed
o-2 is accepted
o-2 is rejected: not enough money
o-2 is compensated
o-3 is stuck: pay: its Undo used up its attempts
o-3 is accepted
o-3 is rejected: no carrier goes there
o-3 is compensated
`
	if got := out.String(); got != want {
		t.Errorf("it printed\n%s", got)
	}
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for query, want := range map[string]int64{
		"SELECT free FROM articles":                          4,
		"SELECT cents FROM accounts WHERE customer = 'Ada'":  3100,
		"SELECT cents FROM accounts WHERE customer = 'Ben'":  10,
		"SELECT cents FROM accounts WHERE customer = 'Cleo'": 7100, // what Dora paid is not in here
		"SELECT count(*) FROM stock WHERE state = 'undone'":  2,
		"SELECT count(*) FROM carrier WHERE state = 'done'":  1,
		"SELECT count(*) FROM bank WHERE order_id <> 'o-1'":  1,
		"SELECT count(*) FROM bank WHERE state = 'undone'":   0,
	} {
		var got int64
		if err := db.QueryRowContext(ctx, query).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %d, want %d: %v", query, got, want, err)
		}
	}
}
