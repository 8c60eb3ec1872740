package docstest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// packages of the repository that people can import, by their folder below the root.
func packages(t *testing.T) map[string]*goPackage {
	t.Helper()
	all := map[string]*goPackage{}
	walk(t, func(path string, d fs.DirEntry) error {
		if d.IsDir() {
			switch d.Name() {
			case ".git", "internal", "itest", "benchmarks", "examples", "testdata", "docs":
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, path), nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir := filepath.ToSlash(filepath.Dir(path))
		if all[dir] == nil {
			all[dir] = &goPackage{name: file.Name.Name, exported: map[string]bool{}, comments: map[string]string{}}
		}
		all[dir].add(file)
		return nil
	})
	if len(all) < 20 {
		t.Fatalf("there are %d packages; are they looked for where they are?", len(all))
	}
	return all
}

// goPackage has the names that a package exports, and those of fields and methods as "Type.Name".
type goPackage struct {
	name     string
	exported map[string]bool
	comments map[string]string // of fields by their name alone, of all types
	doc      string            // the package's own comment
}

func (p *goPackage) add(file *ast.File) {
	p.doc += file.Doc.Text()
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				p.exported[d.Name.Name] = true
			} else {
				p.exported[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				p.addSpec(s)
			}
		}
	}
}

func (p *goPackage) addSpec(s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			p.exported[n.Name] = true
		}
	case *ast.TypeSpec:
		p.exported[s.Name.Name] = true
		var fields *ast.FieldList
		switch typ := s.Type.(type) {
		case *ast.StructType:
			fields = typ.Fields
		case *ast.InterfaceType:
			fields = typ.Methods
		default:
			return
		}
		last := ""
		for _, f := range fields.List {
			if text := f.Doc.Text() + f.Comment.Text(); text != "" { // or one comment stands for several
				last = strings.Join(strings.Fields(text), " ")
			}
			for _, n := range f.Names {
				p.exported[s.Name.Name+"."+n.Name] = true
				p.comments[n.Name] += last + "\n"
			}
		}
	}
}

// receiver is the name of the type of a method.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.IndexListExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

var code = regexp.MustCompile("`[^`\n]+`")

// spans are the pieces of a page that are written as code within its text.
func spans(p page) []string {
	return code.FindAllString(withoutBlocks(p.text), -1)
}

var (
	// ofPackage is a package, one of its names, and perhaps a method or field of that.
	ofPackage = regexp.MustCompile(`(?:^|[^\w.])([a-z]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)
	// ofType is a type and a method or field of it, without the package.
	ofType = regexp.MustCompile(`(?:^|[^\w.])([A-Z]\w*)\.([A-Z]\w*)`)
)

// The names that the documentation speaks of exist.
func TestNamesExist(t *testing.T) {
	byName, everything := map[string]map[string]bool{}, map[string]bool{}
	for _, p := range packages(t) {
		if byName[p.name] == nil { // two packages of one name share it
			byName[p.name] = map[string]bool{}
		}
		maps.Copy(byName[p.name], p.exported)
		maps.Copy(everything, p.exported)
	}
	for _, p := range packages(t) {
		for _, m := range ofPackage.FindAllStringSubmatch(p.doc, -1) {
			if names, ours := byName[m[1]]; ours && !names[m[2]] {
				t.Errorf("the comment of package %s speaks of %s.%s, which is not there", p.name, m[1], m[2])
			}
		}
	}
	found := 0
	for _, p := range pages(t) {
		for _, span := range spans(p) {
			if testName.MatchString(span) { // TestGuaranteesHaveTests looks after those
				continue
			}
			for _, m := range ofPackage.FindAllStringSubmatch(span, -1) {
				names, ours := byName[m[1]]
				switch {
				case !ours:
					continue
				case !names[m[2]]:
					t.Errorf("%s speaks of %s, and package %s has no %s", p.path, span, m[1], m[2])
				case m[3] != "" && !names[m[2]+"."+m[3]]:
					t.Errorf("%s speaks of %s, and %s.%s has no %s", p.path, span, m[1], m[2], m[3])
				}
				found++
			}
			for _, m := range ofType.FindAllStringSubmatch(span, -1) {
				if everything[m[1]] && !everything[m[1]+"."+m[2]] {
					t.Errorf("%s speaks of %s, and no %s of any package has a %s", p.path, span, m[1], m[2])
				}
			}
		}
	}
	if found < 300 {
		t.Errorf("the pages speak of %d names; are they looked for as they are written?", found)
	}
}

// Options, and other fields that stand in a table of their own, exist.
func TestFieldsExist(t *testing.T) {
	fields := map[string]bool{}
	for _, p := range packages(t) {
		for name := range p.exported {
			if _, field, ok := strings.Cut(name, "."); ok {
				fields[field] = true
			}
		}
	}
	found := 0
	for _, p := range pages(t) {
		for _, table := range tables(p) {
			if first := table.rows[0][0]; first != "option" && first != "field" {
				continue
			}
			for _, row := range table.rows[1:] {
				for _, span := range code.FindAllString(row[0], -1) {
					if name := strings.Trim(span, "`"); ast.IsExported(name) && !fields[name] {
						t.Errorf("%s has a row about %s, and no type of any package has such a field", p.path, span)
					}
					found++
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("the tables speak of %d fields; are they looked for as they are written?", found)
	}
}

// The defaults of options in the documentation are those of the comments in the code.
func TestDefaultsAreThoseOfTheCode(t *testing.T) {
	dirs := map[string]string{"docs/bus.md": "bus", "docs/claim-check.md": "claimcheck", "docs/failures.md": ".", "docs/inbox.md": "inbox", "docs/outbox.md": "outbox",
		"docs/store.md": "store", "docs/transports.md": "transport/memory", "docs/transport-sqlqueue.md": "transport/sqlqueue"}
	amount := regexp.MustCompile(`\d[\d,]*(?: (?:ms|s|min|hour|days|MiB)\b)?`)
	all := packages(t)
	found := 0
	for _, p := range pages(t) {
		for _, table := range tables(p) {
			if head := table.rows[0]; len(head) < 2 || head[1] != "default" || head[0] != "option" && head[0] != "field" {
				continue
			}
			pkg := all[dirs[p.path]]
			if pkg == nil {
				t.Errorf("%s has a table of options, and this test does not know of which package", p.path)
				continue
			}
			for _, row := range table.rows[1:] {
				comments := ""
				for _, span := range code.FindAllString(row[0], -1) {
					comments += pkg.comments[strings.Trim(span, "`")]
				}
				for _, want := range amount.FindAllString(row[1], -1) {
					if !regexp.MustCompile(`(?:^|[^\d,])` + want + `(?:[^\d,]|,? |$)`).MatchString(comments) {
						t.Errorf("%s says that %s is %s by default, and the comments in the code do not: %s", p.path, row[0], want, comments)
					}
					found++
				}
			}
		}
	}
	if found < 25 {
		t.Errorf("the tables have %d defaults; are they looked for as they are written?", found)
	}
}
