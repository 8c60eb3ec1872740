package flowplan_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	fp "github.com/sixfold-go/sixfold/internal/flowplan"
)

func task(name string, change ...func(*fp.Step)) *fp.Part {
	s := &fp.Step{Do: fp.Command{Answered: true, Attempts: 1}, Undo: &fp.Command{Answered: true, Attempts: 1}}
	for _, c := range change {
		c(s)
	}
	return &fp.Part{Kind: fp.Task, Name: name, Step: s}
}

func noUndo(s *fp.Step) { s.Undo = nil }

func seq(parts ...*fp.Part) *fp.Part { return &fp.Part{Kind: fp.Sequence, Parts: parts} }

func part(kind fp.Kind, name string, parts ...*fp.Part) *fp.Part {
	return &fp.Part{Kind: kind, Name: name, Parts: parts}
}

func pivot() *fp.Part { return &fp.Part{Kind: fp.Pivot} }

func TestCompileReportsEveryProblem(t *testing.T) {
	cycle := part(fp.Sequence, "round")
	cycle.Parts = []*fp.Part{task("a"), part(fp.Parallel, "p", task("b"), cycle)}
	deep := task("bottom")
	for i := range fp.MaxDepth + 2 {
		deep = part(fp.Sequence, fmt.Sprint("level", i), deep)
	}
	many := make([]*fp.Part, fp.MaxSteps+1)
	for i := range many {
		many[i] = task(fmt.Sprint(i))
	}
	for name, test := range map[string]struct {
		flow *fp.Part
		want []string
	}{
		"nothing":               {seq(), []string{"the flow: it has no step"}},
		"nil part":              {seq(nil), []string{"one of its parts is nil"}},
		"nil step":              {seq(&fp.Part{Kind: fp.Task, Name: "x"}), []string{`"x": the step is nil`}},
		"no name":               {seq(task("")), []string{"has no name"}},
		"names":                 {seq(task("a b"), task("a/b"), task(strings.Repeat("x", 61)), task("ü")), []string{`"a b": its name has a character`, `"a/b": its name has a character`, "has 61 bytes", `"ü": its name`}},
		"duplicate":             {seq(task("a"), part(fp.Sequence, "s", task("a"), task("a"))), []string{`"s/a": two parts have that name`}},
		"cycle":                 {seq(cycle), []string{`contains itself`}},
		"deep":                  {seq(deep), []string{"parts deep"}},
		"many":                  {seq(many...), []string{"501 steps"}},
		"branches":              {seq(part(fp.Parallel, "p", task("a"))), []string{`"p": it has 1 branches`}},
		"empty condition":       {seq(part(fp.Condition, "c"), task("a")), []string{`"c": it has no step`}},
		"no compensation":       {seq(task("a", noUndo), pivot(), task("b", noUndo)), []string{`"a": nothing takes it back`}},
		"no pivot at all":       {seq(task("a"), task("last", noUndo)), []string{`"last": nothing takes it back`}},
		"both":                  {seq(task("a", func(s *fp.Step) { s.NoUndo = "none" })), []string{`"a": it has an Undo and says`}},
		"Undo never reached":    {seq(task("a"), pivot(), task("b")), []string{`"b": its Undo can never run`}},
		"NoUndo for nothing":    {seq(task("a"), pivot(), task("b", noUndo, func(s *fp.Step) { s.NoUndo = "none" })), []string{`"b": it says that it needs no Undo`}},
		"pivot in a branch":     {seq(part(fp.Parallel, "p", task("a"), seq(task("b"), pivot()))), []string{`a pivot is in a branch of "p"`}},
		"pivot in a condition":  {seq(part(fp.Condition, "c", task("a"), part(fp.Sequence, "s", pivot()))), []string{`a pivot is in what "c" may leave out`}},
		"second pivot":          {seq(task("a"), pivot(), pivot()), []string{"second pivot"}},
		"pivot first":           {seq(pivot(), task("a", noUndo)), []string{"a pivot comes before every step"}},
		"times":                 {seq(task("a", func(s *fp.Step) { s.Do.Within, s.Undo.Within = -1, -time.Hour })), []string{`"a": Do waits -1ns`, `"a": Undo waits -1h0m0s`}},
		"limit without a reply": {seq(task("a", func(s *fp.Step) { s.Do.Answered, s.Do.Within = false, time.Second })), []string{"waits for no reply"}},
		"attempts":              {seq(task("a", func(s *fp.Step) { s.Do.Attempts, s.Undo.Attempts = 0, -1 })), []string{"Do has 0 attempts", "Undo has -1 attempts"}},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := fp.Compile(test.flow)
			if err == nil || plan != nil {
				t.Fatalf("it compiled: %v", plan)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is\n%v\nand does not say %s", err, want)
				}
			}
			if n := strings.Count(err.Error(), "\n") + 1; n != len(test.want) {
				t.Errorf("%d problems, want %d:\n%v", n, len(test.want), err)
			}
		})
	}
}

// A pivot in a sub-flow of the main sequence is as good as one beside it, and a part may stand in two places.
func TestPathsAndPivot(t *testing.T) {
	twice := task("x", func(s *fp.Step) { s.NoUndo, s.Undo = "it only looks", nil })
	plan, err := fp.Compile(seq(task("a"), part(fp.Sequence, "sub", twice, pivot(), task("b", noUndo)), part(fp.Parallel, "p", task("c", noUndo), part(fp.Sequence, "branch", task("d", noUndo)))))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range plan.Steps() {
		got = append(got, fmt.Sprint(s.Path, s.AfterPivot()))
	}
	if want := "[afalse sub/xfalse sub/btrue p/ctrue p/branch/dtrue]"; fmt.Sprint(got) != want {
		t.Errorf("the steps are %v, want %s", got, want)
	}
	if _, err := fp.Compile(seq(part(fp.Sequence, "one", twice), part(fp.Sequence, "two", twice))); err != nil {
		t.Errorf("one part in two places: %v", err)
	}
}
