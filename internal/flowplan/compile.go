package flowplan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of a plan.
const (
	MaxSteps = 500
	MaxDepth = 16
	maxName  = 60
)

// A Plan is a flow in the form that runs: a flat table of steps, and the tree that says which comes when. It does not change
// and is safe for concurrent use.
type Plan struct {
	steps  []*Step
	byPath map[string]*Step
	root   *node
}

// node is a part whose path is known.
type node struct {
	kind  Kind
	path  string
	nodes []*node
	step  *Step
}

// Compile checks a flow and makes its plan. It reports every problem at once, each with the path of the part.
func Compile(root *Part) (*Plan, error) {
	c := &compiler{plan: &Plan{byPath: map[string]*Step{}}, paths: map[string]bool{}}
	c.plan.root = c.part(root, place{})
	if len(c.plan.steps) == 0 && len(c.errs) == 0 {
		c.fail("", "it has no step; give it one")
	}
	if n := len(c.plan.steps); n > MaxSteps {
		c.fail("", "it has %d steps, the limit is %d; make two flows of it", n, MaxSteps)
	}
	for _, s := range c.plan.steps {
		c.undo(s)
	}
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	return c.plan, nil
}

type compiler struct {
	plan  *Plan
	paths map[string]bool
	above []*Part
	found bool
	errs  []error
}

// place is where a part stands.
type place struct {
	path   string
	within string // the parallel part or the condition that it is in, for people
}

func (c *compiler) fail(path, format string, args ...any) {
	where := "the flow"
	if path != "" {
		where = fmt.Sprintf("%.200q", path)
	}
	c.errs = append(c.errs, fmt.Errorf("%s: "+format, append([]any{where}, args...)...))
}

func (c *compiler) part(p *Part, at place) *node {
	n := &node{}
	if p == nil {
		c.fail(at.path, "one of its parts is nil; make parts with the functions of this package")
		return n
	}
	if slices.Contains(c.above, p) {
		c.fail(at.path, "the part %.60q contains itself, so that the flow would have no end; end the cycle", p.Name)
		return n
	}
	if len(c.above) > MaxDepth {
		c.fail(at.path, "it is more than %d parts deep; make it flatter", MaxDepth)
		return n
	}
	n.kind, n.path, n.step = p.Kind, c.path(p, at.path), p.Step
	switch p.Kind {
	case Task:
		c.task(n)
		return n
	case Pivot:
		c.setPivot(at)
		return n
	}
	inner := place{n.path, at.within}
	switch p.Kind {
	case Parallel:
		inner.within = fmt.Sprintf("a branch of %q", n.path)
		if len(p.Parts) < 2 {
			c.fail(n.path, "it has %d branches; give two or more, or put its steps into the sequence around it", len(p.Parts))
		}
	case Condition:
		inner.within = fmt.Sprintf("what %q may leave out", n.path)
	}
	if len(p.Parts) == 0 && p.Kind != Parallel && len(c.above) > 0 {
		c.fail(n.path, "it has no step; give it one, or leave it out")
	}
	c.above = append(c.above, p)
	for _, part := range p.Parts {
		n.nodes = append(n.nodes, c.part(part, inner))
	}
	c.above = c.above[:len(c.above)-1]
	return n
}

// path of a part, checked.
func (c *compiler) path(p *Part, above string) string {
	if p.Kind == Pivot || p.Kind == Sequence && p.Name == "" {
		return above
	}
	path := p.Name
	if above != "" {
		path = above + "/" + p.Name
	}
	switch {
	case p.Name == "":
		c.fail(above, "one of its parts has no name; name it")
	case len(p.Name) > maxName:
		c.fail(path, "its name has %d bytes, the limit is %d", len(p.Name), maxName)
	case strings.ContainsFunc(p.Name, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/\"[]{}()|<>;#", r) }):
		c.fail(path, "its name has a character that is none of letters, digits, dots, dashes and the like; it stands in graphs and paths")
	case c.paths[path]:
		c.fail(path, "two parts have that name; an instance knows its steps by their names, so give each one of its own")
	}
	c.paths[path] = true
	return path
}

func (c *compiler) task(n *node) {
	s := n.step
	if s == nil {
		c.fail(n.path, "the step is nil")
		return
	}
	own := *s // a part may stand in two places
	s, n.step = &own, &own
	s.Path, s.index, s.after = n.path, len(c.plan.steps), c.found
	c.plan.steps = append(c.plan.steps, s)
	c.plan.byPath[s.Path] = s
	for _, undo := range []bool{false, true} {
		cmd, what := s.command(undo), "Do"
		if cmd == nil {
			continue
		}
		if undo {
			what = "Undo"
		}
		if cmd.Within < 0 {
			c.fail(n.path, "%s waits %v for its reply; give a positive time", what, cmd.Within)
		}
		if cmd.Within != 0 && !cmd.Answered {
			c.fail(n.path, "%s has a time limit and waits for no reply; name the reply, or leave the limit out", what)
		}
		if cmd.Attempts < 1 {
			c.fail(n.path, "%s has %d attempts; give 1 or more", what, cmd.Attempts)
		}
	}
}

func (c *compiler) setPivot(at place) {
	switch {
	case at.within != "":
		c.fail(at.path, "a pivot is in %s, and it is not certain when or whether that is passed; put it into the main sequence", at.within)
	case c.found:
		c.fail(at.path, "there is a second pivot, behind which nothing changes; keep the first")
	case len(c.plan.steps) == 0:
		c.fail(at.path, "a pivot comes before every step, so that nothing could be undone; leave it out, and put steps into the flow before it")
	}
	c.found = true
}

// undo checks what is said of taking a step back.
func (c *compiler) undo(s *Step) {
	switch {
	case s.after && s.Undo != nil:
		c.fail(s.Path, "its Undo can never run, since the step is behind the pivot; leave it out, or put the pivot behind the step")
	case s.after && s.NoUndo != "":
		c.fail(s.Path, "it says that it needs no Undo, and nothing behind the pivot is undone; leave that out")
	case !s.after && s.Undo == nil && s.NoUndo == "":
		c.fail(s.Path, "nothing takes it back, and it is before the pivot; give it an Undo, or say with NoUndo why it needs none")
	case s.Undo != nil && s.NoUndo != "":
		c.fail(s.Path, "it has an Undo and says that it needs none; leave one of them out")
	}
}

// Step is the step of a path, or nil.
func (p *Plan) Step(path string) *Step { return p.byPath[path] }

// Steps of the plan in the order in which they are written. The slice is the caller's, the steps are not.
func (p *Plan) Steps() []*Step { return slices.Clone(p.steps) }

// Tree is the plan as people wrote it.
type Tree struct {
	Kind  Kind
	Path  string
	Parts []Tree
}

// Tree answers the whole plan.
func (p *Plan) Tree() Tree { return p.root.tree() }

func (n *node) tree() Tree {
	t := Tree{Kind: n.kind, Path: n.path}
	for _, part := range n.nodes {
		t.Parts = append(t.Parts, part.tree())
	}
	return t
}
