package flow

import (
	"fmt"
	"strings"

	"github.com/sixfold-go/sixfold/internal/flowplan"
)

// Graph draws the flow as a flowchart of Mermaid. at says how many instances are at each step, by path, and is shown with it; nil
// shows none. Dotted arrows are what undoes a step.
func (f *Flow[X, S]) Graph(at map[string]int64) string {
	g := &graph{plan: f.plan, at: at}
	g.line("flowchart TD")
	g.line("  begin([%s])", f.begin.heard.Route.Name)
	ends := g.part(f.plan.Tree(), []string{"begin"})
	g.line("  done([completed])")
	g.arrows(ends, "done")
	for _, s := range f.plan.Steps() {
		if s.Undo != nil {
			g.line("  %s -.-> %s_undo[/%s/]", g.id(s.Path), g.id(s.Path), text("undo "+s.Path))
		}
	}
	return g.text.String()
}

// graph is one drawing.
type graph struct {
	plan *flowplan.Plan
	at   map[string]int64
	text strings.Builder
	ids  int
	// label of the next arrow from a condition, by the id that it leaves.
	label map[string]string
}

func (g *graph) line(format string, args ...any) { fmt.Fprintf(&g.text, format+"\n", args...) }

func (g *graph) arrows(from []string, to string) {
	for _, f := range from {
		if label := g.label[f]; label != "" {
			g.line("  %s -- %s --> %s", f, label, to)
			continue
		}
		g.line("  %s --> %s", f, to)
	}
}

// part draws one and answers what the next one follows.
func (g *graph) part(n flowplan.Tree, from []string) []string {
	switch n.Kind {
	case flowplan.Task:
		id := g.id(n.Path)
		label := n.Path
		if k, ok := g.at[n.Path]; ok {
			label = fmt.Sprintf("%s: %d", n.Path, k)
		}
		g.line("  %s[%s]", id, text(label))
		g.arrows(from, id)
		return []string{id}
	case flowplan.Pivot:
		g.ids++
		id := fmt.Sprintf("pivot%d", g.ids)
		g.line("  %s{{point of no return}}", id)
		g.arrows(from, id)
		return []string{id}
	case flowplan.Parallel:
		var ends []string
		for _, b := range n.Parts {
			ends = append(ends, g.part(b, from)...)
		}
		return ends
	case flowplan.Condition:
		id := g.id(n.Path) + "_if"
		g.line("  %s{%s}", id, text(n.Path))
		g.arrows(from, id)
		in := []string{id}
		g.set(id, "yes")
		for i, p := range n.Parts {
			in = g.part(p, in)
			if i == 0 {
				g.set(id, "no")
			}
		}
		return append(in, id)
	}
	for _, p := range n.Parts {
		from = g.part(p, from)
	}
	return from
}

func (g *graph) set(id, label string) {
	if g.label == nil {
		g.label = map[string]string{}
	}
	g.label[id] = label
}

// id of a path: its step's number would change when a step is added, so it is the path with what Mermaid takes.
func (g *graph) id(path string) string {
	var b strings.Builder
	b.WriteString("s_")
	for _, c := range []byte(path) {
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "_%02x", c)
	}
	return b.String()
}

// text in quotes, for Mermaid. Names of parts have no quotes.
func text(s string) string { return `"` + s + `"` }
