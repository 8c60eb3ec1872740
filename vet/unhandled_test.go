package vet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a program sends or declares and does not handle is found before it runs, by the tool as a user runs it, over packages
// that are compiled one by one: what it knows of one has to travel to the others. guarantees: M4
func TestUnhandledIsFoundBeforeItRuns(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "sixfoldvet")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", tool, "./sixfoldvet").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	check := func(pkg string) string {
		cmd := exec.CommandContext(t.Context(), "go", "vet", "-vettool="+tool, pkg)
		cmd.Dir = filepath.Join("testdata", "shop")
		cmd.Env = append(os.Environ(), "GOWORK=off")
		out, err := cmd.CombinedOutput()
		if (err == nil) != (len(out) == 0) {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	for _, pkg := range []string{"./cmd/whole", "./cmd/opaque", "./cmd/sender", "./api", "./orders"} {
		if out := check(pkg); out != "" {
			t.Errorf("%s:\n%s", pkg, out)
		}
	}
	out := check("./cmd/lacking")
	for _, want := range []string{"main.go:14:6: example.com/shop/orders.Archive is sent or declared at example.com/shop/orders/orders.go:43", "orders.Cancel is sent or declared at example.com/shop/api/api.go:19",
		"orders.Price is sent or declared at example.com/shop/api/api.go:16", "lacking.Ping is sent or declared at example.com/shop/cmd/lacking/main.go:19", "add a route for it"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "Place ") || strings.Contains(out, "Placed") {
		t.Errorf("what is handled, or needs no handler:\n%s", out)
	}
}
