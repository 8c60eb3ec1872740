package main

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

// The same service does the same on the database alone and over NATS. guarantees: K2, I1
func TestOneLine(t *testing.T) {
	var want []string
	for _, order := range []string{"order 1", "order 2"} {
		want = append(want, order+": 100 came, 100 in all", order+": 200 came, 300 in all", order+": 300 came, 600 in all")
	}
	for name, url := range map[string]string{"sqlqueue": "", "nats": servers.NATS(t, nil).URL()} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), time.Minute)
			defer stop()
			var out bytes.Buffer
			if err := run(ctx, filepath.Join(t.TempDir(), "shop.db"), url, &out); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(a[:7], b[:7]) }) // the order between keys is nobody's
			if !slices.Equal(lines, want) {
				t.Errorf("it said %q", lines)
			}
		})
	}
}
