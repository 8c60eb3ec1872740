package docstest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	promise  = regexp.MustCompile(`(?m)^- \*\*([A-Z][0-9]+)\*\* `)
	citation = regexp.MustCompile(`guarantees?: ((?:[A-Z][0-9]+)(?:, [A-Z][0-9]+)*)`)
	number   = regexp.MustCompile(`[A-Z][0-9]+`)
	testName = regexp.MustCompile("^`(?:(.+)\\.)?((?:Test|Fuzz)\\w+)`$")
)

// Each promise names tests that prove it, each of which cites it, and nothing cites what is not promised.
func TestGuaranteesHaveTests(t *testing.T) {
	p := pageOf(t, "docs/guarantees.md")
	promised := map[string]bool{}
	for _, m := range promise.FindAllStringSubmatch(p.text, -1) {
		if promised[m[1]] {
			t.Errorf("%s has %s twice", p.path, m[1])
		}
		promised[m[1]] = true
	}
	if len(promised) < 40 {
		t.Fatalf("%s has %d promises; are they looked for as they are written?", p.path, len(promised))
	}
	tests := cited(t, promised)

	for _, row := range underHead(t, p, "promise", "tests") {
		if !promised[row[0]] {
			t.Errorf("%s has tests of %s, which nobody promises", p.path, row[0])
		}
		for _, name := range strings.Split(row[1], ", ") {
			m := testName.FindStringSubmatch(name)
			if m == nil {
				t.Errorf("%s names %q as a test of %s; write `folder.TestName`", p.path, name, row[0])
				continue
			}
			cites, there := tests[path.Join(".", m[1])+"."+m[2]]
			switch {
			case !there:
				t.Errorf("%s names %s as a test of %s, and there is none", p.path, name, row[0])
			case !cites[row[0]]:
				t.Errorf("%s names %s as a test of %s, which does not cite it", p.path, name, row[0])
			}
		}
		delete(promised, row[0])
	}
	for name := range promised {
		t.Errorf("%s names no test of %s", p.path, name)
	}
}

// cited answers the tests of the repository as "folder.TestName", each with what it cites. It reports what cites a promise that
// there is not.
func cited(t *testing.T, promised map[string]bool) map[string]map[string]bool {
	t.Helper()
	all := map[string]map[string]bool{}
	walk(t, func(file string, d fs.DirEntry) error {
		if d.IsDir() || !strings.HasSuffix(file, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, filepath.Join(root, file), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := path.Dir(filepath.ToSlash(file))
		for _, d := range tree.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || !strings.HasSuffix(file, "_test.go") {
				continue
			}
			cites := map[string]bool{}
			for _, c := range tree.Comments {
				if c == f.Doc || f.Pos() <= c.Pos() && c.End() <= f.End() {
					for _, m := range citation.FindAllStringSubmatch(c.Text(), -1) {
						for _, n := range number.FindAllString(m[1], -1) {
							cites[n] = true
						}
					}
				}
			}
			all[dir+"."+f.Name.Name] = cites
		}
		for _, c := range tree.Comments {
			for _, m := range citation.FindAllStringSubmatch(c.Text(), -1) {
				for _, n := range number.FindAllString(m[1], -1) {
					if !promised[n] {
						t.Errorf("%s cites the guarantee %s, and there is none", fset.Position(c.Pos()), n)
					}
				}
			}
		}
		return nil
	})
	return all
}
