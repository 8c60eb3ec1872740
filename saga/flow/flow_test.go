package flow_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
)

// commands are the steps that were sent something, with "-" for an Undo, in their order.
func (p *shop) commands() (text string, envs []*sixfold.Envelope) {
	p.t.Helper()
	envs, _ = p.sent()
	var all []string
	for _, env := range envs {
		sign := ""
		if env.Type == (Unwork{}).MessageName() {
			sign = "-"
		}
		all = append(all, sign+stepOf(p.t, env))
	}
	return strings.Join(all, " "), envs
}

// want compares the commands since the last time, and answers the last one.
func (p *shop) want(want string) *sixfold.Envelope {
	p.t.Helper()
	got, envs := p.commands()
	if got != want {
		p.t.Fatalf("commands %q, want %q", got, want)
	}
	if len(envs) == 0 {
		return nil
	}
	return envs[len(envs)-1]
}

func (p *shop) status(want saga.Status) {
	p.t.Helper()
	if in := p.instance("k"); in.Status != want {
		p.t.Errorf("the instance is %v (%s), want %v", in.Status, in.Reason, want)
	}
}

// Steps one after the other, a condition that is left out, a sub-flow, branches and a pivot: all done. guarantees: S1, S2
func TestCompletes(t *testing.T) {
	p := newShop(t)
	f, err := flow.New("f", p.box, nil,
		flow.Begin(Started.ID, begin),
		work("a"),
		flow.When("gift", func(s *order) bool { return s.Gift }, work("wrap")),
		flow.Sub("sub", work("b").Pivot()),
		flow.Parallel("both", forward("c"), flow.Sub("right", forward("d"), forward("e"))))
	must(t, err)
	p.take(f.Routes())
	p.start("k")
	a := p.want("a")
	must(t, p.deliver(p.answer(a, Worked{"k"})))
	b := p.want("b")
	must(t, p.deliver(p.answer(a, Worked{"k"}))) // a second reply with an id of its own
	must(t, p.deliver(p.answer(b, Gone{"k"})))   // no reply to a Do
	must(t, p.deliver(p.answer(b, Worked{"k"})))
	_, envs := p.commands()
	must(t, p.deliver(p.answer(envs[0], Worked{"k"})))
	p.status(saga.Running)
	if envs[0].Key != "k" {
		t.Errorf("a command without a key of its own has %q, and not the instance's", envs[0].Key)
	}
	p.start("k") // a second beginning
	p.want("")
	must(t, p.deliver(p.answer(envs[1], Worked{"k"})))
	must(t, p.deliver(p.answer(p.want("e"), Worked{"k"})))
	p.status(saga.Completed)
	if s := f.Stats(); s.Completed != 1 || s.Late != 2 || s.Foreign != 1 {
		t.Errorf("%+v", s)
	}
	if state := string(p.instance("k").State); !strings.HasPrefix(state, `{"key":"k","heard":["shop.worked","shop.worked","shop.worked","shop.worked","shop.worked"],"$flow":{`) {
		t.Errorf("the state is %s", state)
	}
}

// forward is work behind the pivot.
func forward(name string) flow.Task[order] {
	return flow.Step(name, flow.Do(func(s *order) Work { return Work{s.Key, name} }), flow.Then(Worked.ID, hear[Worked]), flow.Refused(Refusal.ID, hear[Refusal]))
}

// What is refused has everything before it undone, the last one first, and what timed out as well. guarantees: S2, S3, S4
func TestCompensates(t *testing.T) {
	p := newShop(t)
	f, err := flow.New("f", p.box, nil, flow.Begin(Started.ID, begin), work("a"), work("b").Within(time.Minute), work("c"))
	must(t, err)
	p.take(f.Routes())
	p.start("k")
	must(t, p.deliver(p.answer(p.want("a"), Worked{"k"})))
	b, timers := p.sent()
	if len(timers) != 1 {
		t.Fatalf("%d timers", len(timers))
	}
	must(t, p.deliver(timers[0]))
	undo := p.want("-b")
	if n := len(p.instance("k").Timers); n != 1 { // that of the Undo
		t.Errorf("%d timers", n)
	}
	must(t, p.deliver(p.answer(b[0], Worked{"k"})))
	p.status(saga.Compensating)
	must(t, p.deliver(p.answer(undo, Gone{"k"})))
	if n := len(p.instance("k").Timers); n != 0 {
		t.Errorf("%d timers of steps that do not wait", n)
	}
	must(t, p.deliver(p.answer(p.want("-a"), Gone{"k"})))
	p.status(saga.Compensated)
	if in := p.instance("k"); in.Reason != "b did not answer in time" || len(in.Timers) != 0 {
		t.Errorf("the instance is %+v", in)
	}
	if s := f.Stats(); s.Compensated != 1 || s.Late != 1 {
		t.Errorf("%+v", s)
	}
}

// An Undo that uses up its attempts ends in stuck, which is told once it is committed. guarantees: S2
func TestStuckIsTold(t *testing.T) {
	p := newShop(t)
	var told []flow.Ended
	f, err := flow.New("f", p.box, &flow.Options{Logger: quiet, OnEnd: func(_ context.Context, s flow.Ended) { told = append(told, s) }},
		flow.Begin(Started.ID, begin), work("a").UndoAttempts(sixfold.Retry{MaxAttempts: 2}), work("b"))
	must(t, err)
	p.take(f.Routes())
	p.start("k")
	must(t, p.deliver(p.answer(p.want("a"), Worked{"k"})))
	must(t, p.deliver(p.answer(p.want("b"), Refusal{"k"})))
	must(t, p.deliver(p.answer(p.want("-a"), Stays{"k"})))
	_, timers := p.sent()
	must(t, p.deliver(timers[0]))
	must(t, p.deliver(p.answer(p.want("-a"), Stays{"k"})))
	p.status(saga.Stuck)
	if len(told) != 1 || told[0].Key != "k" || told[0].Status != saga.Stuck || told[0].Steps[0] != "a" || !told[0].Undoing {
		t.Errorf("told %+v", told)
	}
	if in := p.instance("k"); !strings.Contains(in.Reason, "a: its Undo used up its attempts") {
		t.Errorf("the reason is %q", in.Reason)
	}
}

// A step that waits for nothing is done when its command is written, and a flow of such ends in the transaction that began it.
func TestFireAndForget(t *testing.T) {
	p := newShop(t)
	tell := func(name string) flow.Task[order] {
		return flow.Step(name, flow.Do(func(s *order) Work { return Work{s.Key, name} })).NoUndo("it only tells")
	}
	f, err := flow.New("f", p.box, nil, flow.Begin(Started.ID, begin), tell("a"), tell("b"))
	must(t, err)
	p.take(f.Routes())
	p.start("k")
	p.want("a b")
	p.status(saga.Completed)
}

// A reply whose function fails is a failed attempt, and nothing has happened. guarantees: S1
func TestFailingReply(t *testing.T) {
	p := newShop(t)
	fail := true
	f, err := flow.New("f", p.box, nil, flow.Begin(Started.ID, begin),
		flow.Step("a", flow.Do(func(s *order) Work { return Work{s.Key, "a"} }), flow.Then(Worked.ID, func(s *order, _ Worked) error {
			if fail {
				return context.DeadlineExceeded
			}
			return nil
		})).NoUndo("none"), work("b"))
	must(t, err)
	p.take(f.Routes())
	p.start("k")
	reply := p.answer(p.want("a"), Worked{"k"})
	if err := p.deliver(reply); err == nil {
		t.Error("it succeeded")
	}
	p.want("")
	fail = false
	must(t, p.deliver(reply))
	p.want("b")
}
