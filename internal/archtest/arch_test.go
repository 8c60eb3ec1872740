package archtest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repository is the path of the root module, which all others begin with.
const repository = "github.com/sixfold-go/sixfold"

// goModule and goPackage are what "go list -json" prints of interest.
type goModule struct{ Path, Dir string }

type goPackage struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Module     *goModule
}

func TestImportsPointTowardTheTop(t *testing.T) {
	for _, p := range workspacePackages(t) {
		from := short(p.ImportPath)
		row, ok := rowOf(from)
		if !ok {
			t.Errorf("package %s has no row: add one to edges_test.go, with what it may import and why", from)
			continue
		}
		for _, path := range p.Imports {
			if to, ok := within(path); ok && !row.allows(to) {
				t.Errorf("%s imports %s, which its row does not allow (%s): turn the import around, or change the design first and then the row", from, to, row.why)
			}
		}
	}
}

func TestThirdPartiesStayInTheirModules(t *testing.T) {
	for _, p := range workspacePackages(t) {
		i := slices.IndexFunc(parties, func(row party) bool { return row.module == short(p.Module.Path) })
		if i < 0 {
			continue
		}
		for _, path := range p.Imports {
			if thirdParty(path) && !slices.ContainsFunc(parties[i].allow, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
				t.Errorf("%s imports %s, which module %s may not (%s)", short(p.ImportPath), path, parties[i].module, parties[i].why)
			}
		}
	}
}

// Unlike the test above, this one looks at what is linked in the end.
func TestTheRootModuleNeedsOnlyTheStandardLibrary(t *testing.T) {
	root := workspaceRoot(t)
	for _, system := range systems {
		for _, p := range list(t, root, system, "-deps") {
			if _, ok := within(p.ImportPath); !ok && !p.Standard {
				t.Errorf("on %s the root module needs %s: move what imports it into a module of its own", system, p.ImportPath)
			}
		}
	}
	text, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("require")) {
		t.Error("the root's go.mod requires a module: tests that need one belong into itest")
	}
}

func TestTheTableItself(t *testing.T) {
	for _, row := range edges {
		if row.why == "" || len(row.to) == 0 {
			t.Errorf("the row of %s lacks what is allowed, or why", row.from)
		}
		if strings.HasPrefix(row.from, "transport/") && row.allows("store") {
			t.Errorf("the row of %s lets a transport see a store", row.from)
		}
		if strings.HasPrefix(row.from, "store") && (row.allows("transport/memory") || row.allows("transport/nats")) {
			t.Errorf("the row of %s lets a store see a broker", row.from)
		}
	}
	for _, test := range []struct {
		from, to string
		want     bool
	}{
		{".", "bus", false}, {"bus", ".", true}, {"outbox", "bus", true}, {"bus", "outbox", false}, {"store", "outbox", true},
		{"outbox", "store", false}, {"transport/memory", "store", false}, {"store/storetest", "store", true},
		{"transport/nats", "outbox", false}, {"internal/x", ".", false}, {"itest/servers", "store", true},
		{"examples/demo", "transport/nats", false}, {"examples/demo-nats", "transport/nats", true},
	} {
		row, _ := rowOf(test.from)
		if got := row.allows(test.to); got != test.want {
			t.Errorf("%s may import %s: %t, want %t", test.from, test.to, got, test.want)
		}
	}
}

// rowOf returns the row that speaks of a package: the most exact one.
func rowOf(name string) (best edge, ok bool) {
	for _, row := range edges {
		if matches(row.from, name) && len(row.from) > len(best.from) {
			best, ok = row, true
		}
	}
	return best, ok
}

// allows reports whether the packages of a row may import the package.
func (e edge) allows(to string) bool {
	return slices.ContainsFunc(e.to, func(pattern string) bool { return matches(pattern, to) })
}

// matches reports whether a pattern of the table means the package.
func matches(pattern, name string) bool {
	below, all := strings.CutSuffix(pattern, "/...")
	return pattern == "..." || pattern == name || all && (name == below || strings.HasPrefix(name, below+"/"))
}

// within returns a package's name below the root, if it is one of ours.
func within(path string) (string, bool) {
	if path == repository {
		return ".", true
	}
	return strings.CutPrefix(path, repository+"/")
}

// short is within for what is known to be ours.
func short(path string) string {
	name, _ := within(path)
	return name
}

// thirdParty reports whether a path belongs neither to us nor to the standard library, whose paths have no dot in front.
func thirdParty(path string) bool {
	_, our := within(path)
	first, _, _ := strings.Cut(path, "/")
	return !our && strings.Contains(first, ".")
}

// systems are those whose files are looked at, since build constraints hide imports.
var systems = []string{"linux", "darwin", "windows"}

// workspacePackages returns the packages of every module of go.work, each with its imports on all systems.
func workspacePackages(t *testing.T) []goPackage {
	t.Helper()
	watchSources(t)
	modules := decode[goModule](t, goCommand(t, workspaceRoot(t), "", "list", "-m", "-json"))
	if len(modules) < 2 {
		t.Fatalf("go.work has %d modules; is it read at all?", len(modules))
	}
	merged := map[string]goPackage{}
	for _, m := range modules {
		for _, system := range systems {
			for _, p := range list(t, m.Dir, system) {
				p.Imports = append(p.Imports, merged[p.ImportPath].Imports...)
				slices.Sort(p.Imports)
				p.Imports = slices.Compact(p.Imports)
				merged[p.ImportPath] = p
			}
		}
	}
	return slices.SortedFunc(maps.Values(merged), func(a, b goPackage) int { return cmp.Compare(a.ImportPath, b.ImportPath) })
}

// watchSources looks at every source file, so that "go test" runs these tests again when one changes: it sees what a test
// itself opens, and not what the go command reads for it.
func watchSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(workspaceRoot(t), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we look
		}
		if err != nil || d.Name() == ".git" {
			return cmp.Or(err, filepath.SkipDir)
		}
		if filepath.Ext(path) == ".go" || filepath.Ext(path) == ".mod" {
			_, _ = os.Stat(path) // to be seen looking is all
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// list returns the packages of one module as a system sees them.
func list(t *testing.T, dir, system string, flags ...string) []goPackage {
	t.Helper()
	args := append([]string{"list", "-e", "-json=ImportPath,Standard,Imports,Module"}, flags...)
	return decode[goPackage](t, goCommand(t, dir, system, append(args, "./...")...))
}

func decode[T any](t *testing.T, text []byte) []T {
	t.Helper()
	var all []T
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var v T
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
}

// workspaceRoot is the directory of go.work. The published module has none, and nothing to check.
func workspaceRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.work")); err != nil {
		t.Skip("there is no go.work here, so this is not the repository: ", err)
	}
	return root
}

func goCommand(t *testing.T, dir, system string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(workspaceRoot(t), "go.work"), "GOOS="+system)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s in %s: %v\n%s", strings.Join(args, " "), dir, err, &stderr)
	}
	return out
}
