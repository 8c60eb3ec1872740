// Package planting has planted bugs caught by tests that run within seconds.
package planting

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/internal/planted"
)

// A Catcher is the test that must catch a bug: its package's path behind that of the root module, and what -run takes.
type Catcher struct{ Package, Test string }

const module = "github.com/sixfold-go/sixfold/"

// Caught fails t unless each of bugs has a catcher that fails with it, and passes without any.
func Caught(t *testing.T, bugs []planted.Bug, catchers map[planted.Bug]Catcher) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it builds tests with planted bugs")
	}
	if planted.Compiled {
		t.Skip("this is a run with a planted bug")
	}
	b := builder{t: t, programs: map[string]string{}, sound: map[Catcher]bool{}}
	for _, bug := range bugs {
		by, ok := catchers[bug]
		if !ok {
			t.Errorf("nothing catches %s", bug)
			continue
		}
		if !b.sound[by] {
			if out := b.run(by, ""); !strings.HasSuffix(out, "PASS\n") {
				t.Errorf("%s of %s does not pass without a bug:\n%s", by.Test, by.Package, out)
			}
			b.sound[by] = true
		}
		if out, want := b.run(by, bug), "--- FAIL: "+by.name(); !strings.Contains(out, want) {
			t.Errorf("%s of %s, with %s planted, does not say %q:\n%s", by.Test, by.Package, bug, want, out)
		}
	}
}

// name of the outermost test.
func (c Catcher) name() string {
	outer, _, _ := strings.Cut(c.Test, "/")
	return strings.Trim(outer, "^$")
}

// builder builds the tests of each package once.
type builder struct {
	t        *testing.T
	programs map[string]string // by package
	sound    map[Catcher]bool  // tests that were run without a bug
}

// run answers what a test says.
func (b *builder) run(c Catcher, bug planted.Bug) string {
	b.t.Helper()
	dir, err := exec.CommandContext(b.t.Context(), "go", "list", "-f", "{{.Dir}}", module+c.Package).Output()
	if err != nil {
		b.t.Fatalf("find %s: %v", c.Package, err)
	}
	program := b.programs[c.Package]
	if program == "" {
		program = filepath.Join(b.t.TempDir(), "catcher.test")
		build := exec.CommandContext(b.t.Context(), "go", "test", "-c", "-tags", "planted", "-o", program, module+c.Package)
		if out, err := build.CombinedOutput(); err != nil {
			b.t.Fatalf("build the tests of %s with planted bugs: %v\n%s", c.Package, err, out)
		}
		b.programs[c.Package] = program
	}
	test := exec.CommandContext(b.t.Context(), program, "-test.timeout=5m", "-test.short", "-test.run", c.Test)
	test.Dir = strings.TrimSpace(string(dir))
	test.Env = append(os.Environ(), "SIXFOLD_PLANT="+string(bug))
	out, _ := test.CombinedOutput() // it says what came of it
	return string(out)
}
