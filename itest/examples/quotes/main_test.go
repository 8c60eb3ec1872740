package main

import (
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestMain(m *testing.M) { servers.Main(m) }

func TestFiveActs(t *testing.T) { // guarantees: Q1, Q3, Q4
	server := servers.NATS(t, nil)
	var out strings.Builder
	if err := run(t.Context(), server.URL(), &out); err != nil {
		t.Fatal(err)
	}
	want := "1. lamps in stock: 3\n2. too late: true\n3. the warehouse says: internal\n4. no sofa\n5. a lamp for 1900 cents\n"
	if out.String() != want {
		t.Errorf("it printed\n%s\nwant\n%s", &out, want)
	}
}
