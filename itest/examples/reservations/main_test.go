package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestReservations(t *testing.T) { // guarantees: I1, I7
	var out strings.Builder
	if err := run(t.Context(), filepath.Join(t.TempDir(), "shop.db"), &out); err != nil {
		t.Fatal(err)
	}
	want := "lamp: at place 7\nsofa: no sofa is left\nlamps left: 1\nlamps left: 1\n"
	if out.String() != want {
		t.Errorf("it printed\n%s\nwant\n%s", &out, want)
	}
}
