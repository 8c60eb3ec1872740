package flow_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/saga/flow"
)

// Unrouted is a command that the outbox has no route for.
type Unrouted struct{}

func (Unrouted) MessageName() string { return "shop.unrouted" }

// Everything that is wrong with a flow is said at once, each with the path of its step.
func TestEveryProblemIsReported(t *testing.T) {
	p := newShop(t)
	do := flow.Do(func(s *order) Work { return Work{} })
	undo := flow.Undo(func(s *order) Unwork { return Unwork{} }, flow.Undone(Gone.ID))
	then := flow.Then(Worked.ID, hear[Worked])
	for name, test := range map[string]struct {
		parts []flow.Part[order]
		want  []string
	}{
		"no step":              {nil, []string{"it has no step"}},
		"nil part":             {[]flow.Part[order]{nil}, []string{"one of its parts is nil"}},
		"no Do":                {[]flow.Part[order]{flow.Step("a", then, undo)}, []string{`"a": it does nothing; give it a Do`}},
		"two Dos":              {[]flow.Part[order]{flow.Step("a", do, do, then, undo)}, []string{`"a": it has two clauses Do`}},
		"empty clause":         {[]flow.Part[order]{flow.Step("a", do, flow.Clause[order]{}).NoUndo("x")}, []string{`"a": its clause number 2 is empty`}},
		"no compensation":      {[]flow.Part[order]{flow.Step("a", do, then)}, []string{`"a": nothing takes it back`}},
		"NoUndo without a why": {[]flow.Part[order]{flow.Step("a", do, then).NoUndo("")}, []string{`"a": NoUndo does not say why`, `"a": nothing takes it back`}},
		"NoUndo and Undo":      {[]flow.Part[order]{flow.Step("a", do, then, undo).NoUndo("x")}, []string{`"a": it has an Undo and says`}},
		"Undo behind it":       {[]flow.Part[order]{work("a").Pivot(), work("b")}, []string{`"b": its Undo can never run`}},
		"two pivots":           {[]flow.Part[order]{work("a").Pivot(), forward("b").Pivot()}, []string{"there is a second pivot"}},
		"pivot in a branch":    {[]flow.Part[order]{flow.Parallel("p", work("a").Pivot(), work("b")), work("c")}, []string{`"p/b": its Undo can never run`, `"c": its Undo can never run`, `a pivot is in a branch of "p"`}},
		"one branch":           {[]flow.Part[order]{flow.Parallel("p", work("a"))}, []string{`"p": it has 1 branches`}},
		"duplicate":            {[]flow.Part[order]{flow.Sub("s", work("a"), work("a"))}, []string{`"s/a": two parts have that name`}},
		"no condition":         {[]flow.Part[order]{flow.When[order]("w", nil, work("a"))}, []string{`"w": its condition is nil`}},
		"no success":           {[]flow.Part[order]{flow.Step("a", do, flow.Refused(Refusal.ID, hear[Refusal])).NoUndo("x")}, []string{`"a": it waits for replies, and none says that it succeeded`}},
		"no undone":            {[]flow.Part[order]{flow.Step("a", do, then, flow.Undo(func(*order) Unwork { return Unwork{} }, flow.NotUndone(Stays.ID)))}, []string{`"a": its Undo waits for replies`}},
		"two meanings":         {[]flow.Part[order]{flow.Step("a", do, then, flow.Refused(Worked.ID, hear[Worked])).NoUndo("x")}, []string{`"a": the reply "shop.worked" has two meanings`}},
		"begins and replies":   {[]flow.Part[order]{flow.Step("a", do, flow.Then(Started.ID, begin)).NoUndo("x")}, []string{`"a": the reply "shop.started" also begins the flow`}},
		"no correlation":       {[]flow.Part[order]{flow.Step("a", do, flow.Then(nil, hear[Worked])).NoUndo("x")}, []string{`message "shop.worked": its key function is nil`}},
		"no function":          {[]flow.Part[order]{flow.Step("a", do, flow.Then[order](Worked.ID, nil)).NoUndo("x")}, []string{`"a": the function of Then is nil`}},
		"times":                {[]flow.Part[order]{work("a").Within(0), work("b").Within(-time.Second)}, []string{`"a": Within is 0s`, `"b": Within is -1s`}},
		"limit for nothing":    {[]flow.Part[order]{flow.Step("a", do).NoUndo("x").Within(time.Second)}, []string{`"a": it has a time limit and waits for no reply`}},
		"retries":              {[]flow.Part[order]{work("a").Attempts(sixfold.Retry{MaxAttempts: -1}), work("b").UndoAttempts(sixfold.Retry{AfterDead: sixfold.GoOn})}, []string{`"a": Attempts: `, `"b": UndoAttempts: Classes and AfterDead`}},
		"unrouted":             {[]flow.Part[order]{flow.Step("a", flow.Do(func(*order) Unrouted { return Unrouted{} })).NoUndo("x")}, []string{`"a": Do: `}},
		"several":              {[]flow.Part[order]{flow.Step("a", then), flow.Step("b", do)}, []string{`"a": it does nothing`, `"a": nothing takes it back`, `"b": nothing takes it back`}},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := flow.New("f", p.box, nil, flow.Begin(Started.ID, begin), test.parts...)
			if err == nil || f != nil {
				t.Fatal("it was made")
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
	_, err := flow.New("other", p.box, nil, flow.Beginning[order]{}, work("a").Within(time.Second))
	if err == nil || !strings.Contains(err.Error(), "no message begins it") {
		t.Errorf("without a beginning: %v", err)
	}
	_, err = flow.New("other", p.box, nil, flow.Begin(Started.ID, begin), work("a").Within(time.Second))
	if err == nil || !strings.Contains(err.Error(), "other.flow-timer") {
		t.Errorf("a timer without a route: %v", err)
	}
	if _, err = flow.New[any](" ", nil, nil, flow.Begin(Started.ID, begin), work("a")); err == nil {
		t.Error("a flow without a name and a box was made")
	}
}
