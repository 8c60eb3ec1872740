package vet

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/ast/inspector"
	"golang.org/x/tools/go/types/typeutil"
)

const (
	rootPath     = "github.com/sixfold-go/sixfold"
	mediatorPath = rootPath + "/mediator"
)

// Unhandled finds commands and queries that a program sends through a mediator and that nothing in it handles (guarantee M4).
// It looks at calls of mediator.Send, Query and Stream, and at the values that are declared: the messages in a call of
// mediator.Verify, and those in the slices that functions called Messages return. Handlers are the calls of OnCommand, OnPlain, OnQuery
// and OnStream in all packages that the program imports. It reports at func main of a program that makes a mediator.
//
// What it cannot know is left to mediator.Verify and to ErrNoHandler: whether the routes were given to the mediator that is asked,
// and, where a generic function of the program makes routes, of what types; such a program is not reported at all.
var Unhandled = &analysis.Analyzer{
	Name:      "unhandled",
	Doc:       "find commands and queries that a program sends through a mediator and never handles",
	URL:       "https://pkg.go.dev/github.com/sixfold-go/sixfold/vet#Unhandled",
	Requires:  []*analysis.Analyzer{inspect.Analyzer},
	FactTypes: []analysis.Fact{new(traffic)},
	Run:       unhandled,
}

// traffic is what a package and all that it imports do with messages, by the names of their types. Imports of imports are
// summed up, since a driver hands over the facts of direct ones only. As a fact it has slices, sorted: facts have one encoding.
type traffic struct {
	Asked   []question // sent or declared
	Handled []string
	Makes   bool // a mediator is made
	Opaque  bool // routes are made of types that are not known
}

// question is a message that needs a handler, and the first place that says so.
type question struct{ Name, Where string }

func (*traffic) AFact() {}

func (t *traffic) String() string {
	return fmt.Sprintf("asked %q, handled %q, makes %v, opaque %v", t.Asked, t.Handled, t.Makes, t.Opaque)
}

func (t *traffic) ask(q question) {
	i, known := slices.BinarySearchFunc(t.Asked, q, func(a, b question) int { return strings.Compare(a.Name, b.Name) })
	if !known {
		t.Asked = slices.Insert(t.Asked, i, q)
	}
}

func (t *traffic) handle(name string) {
	if i, known := slices.BinarySearch(t.Handled, name); !known {
		t.Handled = slices.Insert(t.Handled, i, name)
	}
}

func (t *traffic) handles(name string) bool {
	_, known := slices.BinarySearch(t.Handled, name)
	return known
}

func (t *traffic) add(u *traffic) {
	for _, q := range u.Asked {
		t.ask(q)
	}
	for _, name := range u.Handled {
		t.handle(name)
	}
	t.Makes = t.Makes || u.Makes
	t.Opaque = t.Opaque || u.Opaque
}

func (t *traffic) empty() bool {
	return len(t.Asked) == 0 && len(t.Handled) == 0 && !t.Makes && !t.Opaque
}

func unhandled(pass *analysis.Pass) (any, error) {
	if pass.Pkg.Path() == mediatorPath { // its own generic code says nothing of a program
		return nil, nil
	}
	t := new(traffic)
	for _, p := range pass.Pkg.Imports() {
		var of traffic
		if pass.ImportPackageFact(p, &of) {
			t.add(&of)
		}
	}
	in := pass.ResultOf[inspect.Analyzer].(*inspector.Inspector)
	in.Preorder([]ast.Node{(*ast.CallExpr)(nil), (*ast.FuncDecl)(nil)}, func(n ast.Node) {
		switch n := n.(type) {
		case *ast.CallExpr:
			t.call(pass, n)
		case *ast.FuncDecl:
			if n.Name.Name == "Messages" && n.Body != nil {
				t.declared(pass, n)
			}
		}
	})
	if !t.empty() {
		pass.ExportPackageFact(t)
	}
	if at := mainOf(pass); at != token.NoPos && t.Makes && !t.Opaque {
		for _, q := range t.Asked {
			if !t.handles(q.Name) {
				pass.Reportf(at, "%s is sent or declared at %s, and nothing in this program handles it; add a route for it, or remove it", q.Name, q.Where)
			}
		}
	}
	return nil, nil
}

// mainOf is where the name of func main stands, if the package is a program.
func mainOf(pass *analysis.Pass) token.Pos {
	if pass.Pkg.Name() != "main" {
		return token.NoPos
	}
	if f, ok := pass.Pkg.Scope().Lookup("main").(*types.Func); ok {
		return f.Pos()
	}
	return token.NoPos
}

// call notes a call of a function of package mediator.
func (t *traffic) call(pass *analysis.Pass, call *ast.CallExpr) {
	f := typeutil.StaticCallee(pass.TypesInfo, call)
	if f == nil || f.Pkg() == nil || f.Pkg().Path() != mediatorPath {
		return
	}
	switch f.Name() {
	case "New":
		t.Makes = true
	case "Send", "Query", "Stream":
		if name, ok := nameOf(messageOf(pass, call)); ok {
			t.ask(question{name, place(pass, call.Pos())})
		}
	case "OnCommand", "OnPlain", "OnQuery", "OnStream":
		if name, ok := nameOf(messageOf(pass, call)); ok {
			t.handle(name)
		} else {
			t.Opaque = true
		}
	case "Verify":
		if call.Ellipsis == token.NoPos {
			for _, arg := range call.Args[min(1, len(call.Args)):] {
				t.value(pass, arg)
			}
		}
	}
}

// place is a file below the package's path, and a line.
func place(pass *analysis.Pass, at token.Pos) string {
	p := pass.Fset.Position(at)
	return fmt.Sprintf("%s/%s:%d", pass.Pkg.Path(), filepath.Base(p.Filename), p.Line)
}

// declared notes the elements of slices of messages in a function called Messages.
func (t *traffic) declared(pass *analysis.Pass, f *ast.FuncDecl) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		slice, ok := pass.TypesInfo.TypeOf(lit).Underlying().(*types.Slice)
		if !ok || types.TypeString(slice.Elem(), nil) != rootPath+".Message" {
			return true
		}
		for _, e := range lit.Elts {
			t.value(pass, e)
		}
		return false
	})
}

// value notes a message that is a command or a query. A notification needs no handler.
func (t *traffic) value(pass *analysis.Pass, e ast.Expr) {
	of := pass.TypesInfo.TypeOf(e)
	if of == nil || !embedsReturns(of) {
		return
	}
	if name, ok := nameOf(of); ok {
		t.ask(question{name, place(pass, e.Pos())})
	}
}

// embedsReturns reports whether a struct embeds sixfold.Returns, by which it is a command or a query.
func embedsReturns(of types.Type) bool {
	s, ok := of.Underlying().(*types.Struct)
	if !ok {
		return false
	}
	for f := range s.Fields() {
		if named, ok := types.Unalias(f.Type()).(*types.Named); ok && f.Embedded() && (isReturns(named) || embedsReturns(named)) {
			return true
		}
	}
	return false
}

func isReturns(named *types.Named) bool {
	o := named.Origin().Obj()
	return o.Name() == "Returns" && o.Pkg() != nil && o.Pkg().Path() == rootPath
}

// messageOf is the type of message that a call of a generic function is for: its first type argument.
func messageOf(pass *analysis.Pass, call *ast.CallExpr) types.Type {
	fun := ast.Unparen(call.Fun)
	switch x := fun.(type) {
	case *ast.IndexExpr:
		fun = x.X
	case *ast.IndexListExpr:
		fun = x.X
	}
	var id *ast.Ident
	switch x := ast.Unparen(fun).(type) {
	case *ast.Ident:
		id = x
	case *ast.SelectorExpr:
		id = x.Sel
	}
	args := pass.TypesInfo.Instances[id].TypeArgs
	if args == nil || args.Len() == 0 {
		return nil
	}
	return args.At(0)
}

// nameOf is the full name of a type that is no parameter of a generic function.
func nameOf(of types.Type) (string, bool) {
	named, ok := types.Unalias(of).(*types.Named)
	if !ok {
		return "", false
	}
	for arg := range named.TypeArgs().Types() {
		if _, open := types.Unalias(arg).(*types.TypeParam); open {
			return "", false
		}
	}
	return types.TypeString(named, nil), true
}
