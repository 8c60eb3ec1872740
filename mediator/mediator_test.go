package mediator_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

type create struct {
	sixfold.Returns[string] `json:"-"`

	Customer string
}

func (create) MessageName() string  { return "orders.create" }
func (c create) MessageKey() string { return c.Customer }

type find struct {
	sixfold.Returns[int]

	ID string
}

func (find) MessageName() string { return "orders.find" }

type cancel struct {
	sixfold.Returns[struct{}]
}

func (cancel) MessageName() string { return "orders.cancel" }

// create2 has create's name.
type create2 struct{ sixfold.Returns[string] }

func (create2) MessageName() string { return "orders.create" }

type placed struct{ ID string }

func (placed) MessageName() string { return "orders.placed" }

type unheard struct{}

func (unheard) MessageName() string { return "orders.unheard" }

func onCreate(_ context.Context, c create) (string, error) { return "for " + c.Customer, nil }
func onFind(_ context.Context, q find) (int, error)        { return len(q.ID), nil }
func onCancel(context.Context, cancel) error               { return errCancelled }
func onPlaced(context.Context, placed) error               { return nil }

var errCancelled = errors.New("cancelled before")

func newMediator(t *testing.T, o *mediator.Options, routes ...mediator.Route) *mediator.Mediator {
	t.Helper()
	m, err := mediator.New(o, routes...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// says checks that err matches target and that its text has all of parts.
func says(t *testing.T, err, target error, parts ...string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%v is no %v", err, target)
		return
	}
	for _, s := range parts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%q is missing in %v", s, err)
		}
	}
}

func TestCallsAnswerWhatHandlersAnswer(t *testing.T) {
	for name, o := range map[string]*mediator.Options{"plain": nil, "through": {Middleware: []sixfold.Middleware{through}}} {
		t.Run(name, func(t *testing.T) {
			m := newMediator(t, o, mediator.OnCommand(onCreate), mediator.OnQuery(onFind), mediator.OnPlain(onCancel))
			var id string // the types are inferred
			id, err := mediator.Send(t.Context(), m, create{Customer: "c-1"})
			if id != "for c-1" || err != nil {
				t.Errorf("%q, %v", id, err)
			}
			n, err := mediator.Query(t.Context(), m, find{ID: "four"})
			if n != 4 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if _, err := mediator.Send(t.Context(), m, cancel{}); err != errCancelled {
				t.Errorf("not the handler's own error: %v", err)
			}
		})
	}
}

// guarantees: M1
func TestM1TwoHandlersAreRefusedAllAtOnce(t *testing.T) {
	other := func(context.Context, create) (string, error) { return "", nil }
	m, err := mediator.New(&mediator.Options{Policy: 7, Middleware: []sixfold.Middleware{nil}},
		mediator.OnCommand(onCreate), mediator.OnQuery(onFind),
		mediator.OnCommand(other).Named("the other one"),
		mediator.OnQuery(onCreate), // as another kind
		mediator.OnQuery(onFind),
		mediator.OnCommand(func(context.Context, create2) (string, error) { return "", nil }),
		mediator.OnNotification(func(context.Context, create) error { return nil }),
		mediator.OnNotification(onPlaced), mediator.OnNotification(onPlaced), // any number
		mediator.OnCommand[create](nil),
		mediator.OnPlain[cancel](nil),
		mediator.OnNotification(func(context.Context, *placed) error { return nil }),
		mediator.Route{},
		mediator.OnCommand(onCreate).With(nil),
	)
	if m != nil {
		t.Error("a mediator in spite of errors")
	}
	says(t, err, sixfold.ErrInvalid, "Policy 7", "Middleware number 1",
		`command "orders.create": it has two handlers, mediator_test.onCreate (`, "and the other one (",
		`message "orders.create": it is handled as a command by mediator_test.onCreate`, "and as a query",
		`query "orders.find": it has two handlers`,
		`two types have it, mediator_test.create (`, "mediator_test.create2 (",
		"embeds sixfold.Returns", "mediator_test.go:", "the handler is nil", "orders.cancel", "handle mediator_test.placed", "it is empty; make routes with", "middleware number 1 is nil")
	if n := strings.Count(err.Error(), "\n"); n < 11 {
		t.Errorf("%d lines:\n%v", n+1, err)
	}
}

// guarantees: M1
func TestM1NoHandler(t *testing.T) {
	m := newMediator(t, nil, mediator.OnCommand(onCreate), mediator.OnNotification(onPlaced))
	_, err := mediator.Send(t.Context(), m, cancel{})
	says(t, err, mediator.ErrNoHandler, `send "orders.cancel"`, "mediator.OnCommand")
	_, err = mediator.Query(t.Context(), m, find{})
	says(t, err, mediator.ErrNoHandler, `query "orders.find"`, "mediator.OnQuery")
	if err := mediator.Publish(t.Context(), m, unheard{}); err != nil {
		t.Errorf("a notification that nobody handles: %v", err)
	}
	if err := mediator.Publish(t.Context(), m, sixfold.Message(unheard{})); err != nil {
		t.Errorf("a notification that nobody handles: %v", err)
	}
}

func TestMistakesAreTyped(t *testing.T) {
	m := newMediator(t, nil, mediator.OnCommand(onCreate), mediator.OnQuery(onFind), mediator.OnNotification(onPlaced))
	ctx := t.Context()
	_, err := mediator.Query(ctx, m, create{})
	says(t, err, mediator.ErrKind, `query "orders.create"`, "a command, handled by mediator_test.onCreate", "use mediator.Send")
	_, err = mediator.Send(ctx, m, find{})
	says(t, err, mediator.ErrKind, "use mediator.Query")
	_, err = mediator.Send(ctx, m, create2{})
	says(t, err, mediator.ErrNoHandler, "mediator_test.create2", "mediator_test.create has the same name")
	_, err = mediator.Send(ctx, m, &create{})
	says(t, err, sixfold.ErrInvalid, "send *mediator_test.create", "pass the mediator_test.create itself")
	var none *create
	_, err = mediator.Send(ctx, m, none)
	says(t, err, sixfold.ErrInvalid, "plain value")
	_, err = mediator.Send(ctx, m, sixfold.Command[string](create{}))
	says(t, err, sixfold.ErrInvalid, "interface")
	_, err = mediator.Send(ctx, nil, create{})
	says(t, err, sixfold.ErrInvalid, "the mediator is nil")
	_, err = mediator.Query(ctx, nil, find{})
	says(t, err, sixfold.ErrInvalid, "the mediator is nil")
	says(t, mediator.Publish(ctx, nil, placed{}), sixfold.ErrInvalid, "the mediator is nil")
	says(t, mediator.Publish(ctx, m, create{}), mediator.ErrKind, "use mediator.Send")
	says(t, mediator.Publish(ctx, m, cancel{}), mediator.ErrKind, "embeds sixfold.Returns") // and has no handler at all
	says(t, mediator.Publish(ctx, m, &placed{}), sixfold.ErrInvalid, "pass the mediator_test.placed itself")
	says(t, mediator.Publish(ctx, m, sixfold.Message(nil)), sixfold.ErrInvalid, "the message is nil")
	says(t, mediator.Publish(ctx, m, placed{}, 9), sixfold.ErrInvalid, "Policy 9")
}

func TestAPanicIsTheCallers(t *testing.T) {
	m := newMediator(t, nil, mediator.OnQuery(func(context.Context, find) (int, error) { panic("mine") }))
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("%v", p)
		}
	}()
	_, _ = mediator.Query(t.Context(), m, find{})
}

// Beside the benchmarks, which nobody has to look at: what is allocated is known exactly.
func TestSendAllocatesNothing(t *testing.T) {
	plain := newMediator(t, nil, mediator.OnCommand(handleRename))
	wrapped := newMediator(t, &mediator.Options{Middleware: []sixfold.Middleware{through, through, through}}, mediator.OnCommand(handleRename))
	ctx, i := t.Context(), 0
	send := func(m *mediator.Mediator) func() {
		return func() {
			i++
			n, _ := mediator.Send(ctx, m, rename{ID: ids[i%64], From: ids[(i+1)%64], To: ids[(i+2)%64]})
			sink += n
		}
	}
	if n := testing.AllocsPerRun(1000, send(plain)); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, send(wrapped)); n > 1 {
		t.Errorf("%v allocations through three middlewares", n)
	}
}
