package saga_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/store/memory"
)

type pointed struct{}

func (*pointed) MessageName() string { return "billing.pointed" }

type unrouted struct{}

func (unrouted) MessageName() string { return "billing.unrouted" }

func TestDefineReportsEveryProblem(t *testing.T) {
	p := newProgram(t, nil)
	_, err := saga.Define("", p.box,
		saga.On[*memory.Tx, subscription](func(m Paid) string { return m.ID }, nil).Restarting(),
		saga.On(bySubscription[Paid], p.paid),
		saga.On(nil, p.cancelled),
		saga.Step[*memory.Tx, subscription]{},
		saga.OnTimeout(func(context.Context, *memory.Tx, *subscription, unrouted, *saga.Effects) error { return nil }).Required(),
		saga.On(func(*pointed) string { return "" }, func(context.Context, *memory.Tx, *subscription, *pointed, *saga.Effects) error { return nil }))
	wants := []string{`name ""`, "no step begins it", "the handler of On is nil", "Restarting is for", `two steps hear of "billing.paid"`, "the key function of On is nil",
		"step number 4 is empty", "Required is for", "billing.unrouted\"; give outbox.New a route", "not a pointer"}
	for _, want := range wants {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err := saga.Define[*memory.Tx, subscription]("renewal", nil); err == nil || !strings.Contains(err.Error(), "the box is nil") || !strings.Contains(err.Error(), "no step") {
		t.Error(err)
	}
	_, err = saga.Define("renewal", p.box, saga.StartedBy(bySubscription[Subscribed], func(context.Context, *memory.Tx, *int, Subscribed, *saga.Effects) error { return nil }))
	if err == nil || !strings.Contains(err.Error(), "plain struct") {
		t.Error(err)
	}
	if _, err := saga.NewBox[*memory.Tx](nil, nil, nil, &saga.Options{Retention: 1}); err == nil || strings.Count(err.Error(), "saga:") != 4 {
		t.Errorf("four things are wrong: %v", err)
	}
}

func TestMessageWithoutKey(t *testing.T) {
	p := newProgram(t, nil)
	g := p.define(t)
	for _, key := range []string{"", strings.Repeat("k", saga.MaxKey+1), "a\nb", "a\x00b"} {
		err := p.receiver(t, g.Routes()...).Deliver(t.Context(), Subscribed{key})
		if err == nil || errors.Is(err, saga.ErrConflict) {
			t.Errorf("key %.20q: %v", key, err)
		}
		if len(p.instances(t, key)) > 0 && key != "" {
			t.Errorf("key %.20q made an instance", key)
		}
	}
	must(t, p.receiver(t, g.Routes()...).Deliver(t.Context(), Subscribed{strings.Repeat("k", saga.MaxKey)}))
}
