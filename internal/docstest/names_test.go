package docstest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// packages whose exported names the pages may speak of, by the name that they write, with their folders. Two
// packages of one name share it.
var packages = map[string]string{
	"sixfold": ".", "sqltx": "sqltx", "cloudevents": "cloudevents", "bus": "bus", "bustest": "bus/bustest", "outbox": "outbox",
	"inbox": "inbox", "store": "store", "storetest": "store/storetest", "memory": "transport/memory store/memory", "nats": "transport/nats",
	"rabbitmq": "transport/rabbitmq", "kafka": "transport/kafka", "sqs": "transport/sqs", "mediator": "mediator", "request": "request", "requesttest": "request/requesttest", "schedule": "schedule", "saga": "saga", "flow": "saga/flow", "middleware": "middleware", "postgres": "postgres", "sixfoldtest": "sixfoldtest",
}

var code = regexp.MustCompile("`[^`\n]+`")

// name is what stands in code: a package, one of its names, and perhaps a method or field of that.
var name = regexp.MustCompile(`\b([a-z]+)\.([A-Z]\w*)(?:\.([A-Z]\w*))?`)

// The names that the documentation speaks of exist.
func TestNamesExist(t *testing.T) {
	known := map[string]map[string]bool{}
	for pkg, dirs := range packages {
		known[pkg] = map[string]bool{}
		for _, dir := range strings.Fields(dirs) {
			maps.Copy(known[pkg], exported(t, filepath.Join(root, filepath.FromSlash(dir))))
		}
	}
	for _, p := range pages(t) {
		if slices.Contains(records, filepath.Base(p.path)) {
			continue
		}
		for _, span := range code.FindAllString(p.text, -1) {
			for _, m := range name.FindAllStringSubmatch(span, -1) {
				names, ours := known[m[1]]
				switch {
				case !ours || len(names) == 0:
				case !names[m[2]]:
					t.Errorf("%s speaks of %s, and package %s has no %s", p.path, span, m[1], m[2])
				case m[3] != "" && !names[m[2]+"."+m[3]]:
					t.Errorf("%s speaks of %s, and %s.%s has no %s", p.path, span, m[1], m[2], m[3])
				}
			}
		}
	}
}

// exported answers the names that the package in dir exports, and those of fields and methods as "Type.Name". None when
// there is no package.
func exported(t *testing.T, dir string) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					all[d.Name.Name] = true
				} else {
					all[receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					addSpec(all, s)
				}
			}
		}
	}
	return all
}

func addSpec(all map[string]bool, s ast.Spec) {
	switch s := s.(type) {
	case *ast.ValueSpec:
		for _, n := range s.Names {
			all[n.Name] = true
		}
	case *ast.TypeSpec:
		all[s.Name.Name] = true
		var fields *ast.FieldList
		switch typ := s.Type.(type) {
		case *ast.StructType:
			fields = typ.Fields
		case *ast.InterfaceType:
			fields = typ.Methods
		default:
			return
		}
		for _, f := range fields.List {
			for _, n := range f.Names {
				all[s.Name.Name+"."+n.Name] = true
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
