package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// People cancel, retry and resume, are told where they cannot, and stand in the journal. guarantees: S2
func TestPeople(t *testing.T) {
	p := newShop(t)
	f, err := flow.New("f", p.box, &flow.Options{Logger: quiet}, flow.Begin(Started.ID, begin), work("a"),
		work("b").UndoAttempts(sixfold.Retry{MaxAttempts: 1}), work("c").Pivot(), forward("d").Attempts(sixfold.Retry{MaxAttempts: 1}))
	must(t, err)
	p.take(f.Routes())
	ctx := t.Context()
	wants := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("the error is %v, want %v", err, want)
		}
	}
	wants(f.Cancel(ctx, "k", "Dora"), saga.ErrNoInstance)
	p.start("k")
	a := p.want("a")
	wants(f.Resume(ctx, "k", "", "Dora"), flow.ErrNotStuck)
	wants(f.Retry(ctx, "k", "z", "Dora"), flow.ErrNotStuck)
	must(t, f.Retry(ctx, "k", "a", "Dora")) // the participant lost it
	p.want("a")
	must(t, p.deliver(p.answer(a, Worked{"k"})))
	must(t, p.deliver(p.answer(p.want("b"), Worked{"k"})))
	p.want("c")
	if at, err := f.At(new(p.instance("k"))); err != nil || len(at) != 1 || at[0] != "c" {
		t.Errorf("it is at %v: %v", at, err)
	}
	must(t, f.Cancel(ctx, "k", "Dora"))
	undo := p.want("-c")
	wants(f.Cancel(ctx, "k", "Dora"), saga.ErrEnded)
	must(t, p.deliver(p.answer(undo, Gone{"k"})))
	must(t, p.deliver(p.answer(p.want("-b"), Stays{"k"})))
	p.status(saga.Stuck)
	wants(f.Cancel(ctx, "k", "Dora"), flow.ErrPastPivot)
	must(t, f.Retry(ctx, "k", "", "Dora"))
	p.status(saga.Compensating)
	must(t, p.deliver(p.answer(p.want("-b"), Stays{"k"})))
	p.status(saga.Stuck)
	must(t, f.Resume(ctx, "k", "", "Dora"))
	must(t, p.deliver(p.answer(p.want("-a"), Gone{"k"})))
	p.status(saga.Compensated)
	wants(f.Retry(ctx, "k", "", "Dora"), saga.ErrEnded)
	if in := p.instance("k"); in.Reason != "cancelled by a person" {
		t.Errorf("the reason is %q", in.Reason)
	}
	journal, err := p.Store.Sagas().Records().History(ctx, p.instance("k").ID, 0, 100)
	must(t, err)
	var who []string
	for _, e := range journal {
		if e.Kind == saga.Operated {
			who = append(who, e.Step+" by "+e.Detail.Who)
		}
	}
	if got := strings.Join(who, ", "); got != "retry by Dora, cancel by Dora, retry by Dora, resume by Dora" {
		t.Errorf("the journal says %s", got)
	}
	if s := f.Stats(); s.Stuck != 2 || s.Compensated != 1 {
		t.Errorf("%+v", s)
	}
}

// Of an instance that is stuck at two steps one may be helped; it says at which it still is, and is not stuck anew. guarantees: S2
func TestStuckAtTwoSteps(t *testing.T) {
	p := newShop(t)
	told := 0
	f, err := flow.New("f", p.box, &flow.Options{Logger: quiet, OnEnd: func(_ context.Context, e flow.Ended) {
		if told++; e.Status == saga.Stuck && told == 1 && e.Reason != "p/b, p/c: it used up its attempts behind the pivot" {
			t.Errorf("it is %v: %s", e.Status, e.Reason)
		}
	}}, flow.Begin(Started.ID, begin), work("a").Pivot(),
		flow.Parallel("p", forward("b").Attempts(sixfold.Retry{MaxAttempts: 1}), forward("c").Attempts(sixfold.Retry{MaxAttempts: 1})))
	must(t, err)
	p.take(f.Routes())
	p.start("k")
	must(t, p.deliver(p.answer(p.want("a"), Worked{"k"})))
	commands, _ := p.sent()
	for _, c := range commands {
		must(t, p.deliver(p.answer(c, Refusal{"k"})))
	}
	p.status(saga.Stuck)
	must(t, f.Resume(t.Context(), "k", "p/b", "Dora"))
	if in := p.instance("k"); in.Status != saga.Stuck || in.Reason != "p/c: it used up its attempts behind the pivot" || told != 1 {
		t.Errorf("it is %v (%s), and was told %d times", in.Status, in.Reason, told)
	}
	if err := f.Resume(t.Context(), "k", "p/b", "Dora"); !errors.Is(err, flow.ErrNotStuck) {
		t.Errorf("a step that was helped already: %v", err)
	}
	must(t, f.Resume(t.Context(), "k", "", "Dora"))
	p.status(saga.Completed)
	if s := f.Stats(); s.Stuck != 1 || s.Completed != 1 || told != 2 {
		t.Errorf("%+v, told %d times", s, told)
	}
}

// Behind the pivot a step is tried again, and again, where nothing else is said of it.
func TestBehindThePivotByDefault(t *testing.T) {
	p := newShop(t)
	f, err := flow.New("f", p.box, &flow.Options{Logger: quiet}, flow.Begin(Started.ID, begin), work("a").Pivot(), forward("b"))
	must(t, err)
	p.take(f.Routes())
	p.start("k")
	must(t, p.deliver(p.answer(p.want("a"), Worked{"k"})))
	for range 3 {
		must(t, p.deliver(p.answer(p.want("b"), Refusal{"k"})))
		p.status(saga.Running)
		_, timers := p.sent()
		if len(timers) != 1 {
			t.Fatalf("%d timers were set", len(timers))
		}
		must(t, p.deliver(timers[0]))
	}
	must(t, p.deliver(p.answer(p.want("b"), Worked{"k"})))
	p.status(saga.Completed)
}

// The end of an instance is told when it is committed, and once: not of what is rolled back, nor of what comes again. guarantees: S2
func TestEndsAreToldOnce(t *testing.T) {
	told := 0
	var f *flow.Flow[*memory.Tx, order]
	s := sixfoldtest.Saga(t, func(box *saga.Box[*memory.Tx]) (_ sixfoldtest.Conversation, err error) {
		f, err = flow.New("f", box, &flow.Options{Logger: quiet, OnEnd: func(context.Context, flow.Ended) { told++ }}, flow.Begin(Started.ID, begin), work("a"))
		return f, err
	}, outbox.To("work", Work{}, Unwork{}), outbox.ToConsumer("orders", flow.Timer("f")))
	s.Crashing = true
	s.Given(Started{"k"})
	s.Answer(Worked{"k"})
	s.Is("k", saga.Completed)
	if st := f.Stats(); told != 1 || st.Completed != 1 || st.Saga.Steps != 2 {
		t.Errorf("it was told %d times: %+v", told, st)
	}
}

// evolved is order as it became: its key has another name.
type evolved struct {
	Number string `json:"number"`
}

func (evolved) StateHistory() []saga.Former {
	return []saga.Former{{Version: 1, Upcast: func(state []byte) ([]byte, error) {
		var old map[string]any
		if err := json.Unmarshal(state, &old); err != nil {
			return nil, err
		}
		if len(old) != 1 {
			return nil, errors.New("the upcast sees more than the user's fields")
		}
		return json.Marshal(evolved{Number: old["key"].(string)})
	}}}
}

// An instance goes on in a program whose state has another form; one that does not know its steps parks it. guarantees: S6
func TestAnotherProgram(t *testing.T) {
	p := newShop(t)
	f, err := flow.New("f", p.box, nil, flow.Begin(Started.ID, begin), work("a").Within(time.Hour))
	must(t, err)
	p.take(f.Routes())
	p.start("k")
	a := p.want("a")

	renamed, err := flow.New("f", p.box, nil, flow.Begin(Started.ID, begin), work("b"))
	must(t, err)
	p.take(renamed.Routes())
	if err := p.deliver(p.answer(a, Worked{"k"})); !errors.Is(err, saga.ErrSchema) || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("a program that does not know the step says: %v", err)
	}

	later, err := flow.New("f", p.box, nil,
		flow.Begin(Started.ID, func(s *evolved, m Started) error { s.Number = m.Key; return nil }),
		flow.Step("a", flow.Do(func(s *evolved) Work { return Work{s.Number, "a"} }), flow.Then(Worked.ID, func(*evolved, Worked) error { return nil })).NoUndo("none"),
		flow.Step("b", flow.Do(func(s *evolved) Work { return Work{s.Number, "b"} }), flow.Then(Worked.ID, func(*evolved, Worked) error { return nil })).NoUndo("none"))
	must(t, err)
	p.take(later.Routes())
	must(t, p.deliver(p.answer(a, Worked{"k"})))
	b := p.want("b")
	if string(b.Body) != `{"Key":"k","Step":"b"}` {
		t.Errorf("the command is %s", b.Body)
	}
	if in := p.instance("k"); in.Schema != 2 || !strings.HasPrefix(string(in.State), `{"number":"k","$flow":{`) {
		t.Errorf("the state is version %d: %s", in.Schema, in.State)
	}
}
