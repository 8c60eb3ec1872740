package mediator_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/mediator"
)

var errMail = errors.New("no mail today")

// guarantees: M2
func TestM2AllHandlersRunAtOnceAlthoughSomeFail(t *testing.T) {
	for _, name := range []string{"plain", "through"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := &mediator.Options{}
				passes := map[string]int{}
				var mu sync.Mutex
				if name == "through" {
					o.Middleware = []sixfold.Middleware{func(next sixfold.Handler) sixfold.Handler {
						return func(ctx context.Context, env *sixfold.Envelope) error {
							mu.Lock()
							passes[env.ID]++
							mu.Unlock()
							return next(ctx, env)
						}
					}}
				}
				ids := map[string]bool{}
				running := 0
				open := make(chan struct{})
				handler := func(err error, goexit bool) func(context.Context, placed) error {
					return func(ctx context.Context, n placed) error {
						info := sixfold.InfoFrom(ctx)
						mu.Lock()
						running++
						ids[info.Envelope.ID] = true
						mu.Unlock()
						if info != sixfold.InfoFrom(ctx) || info.Envelope.Type != "orders.placed" || n.ID != "o-1" || info.Envelope.Message() != any(n) {
							t.Errorf("%v", info)
						}
						<-open
						if goexit {
							runtime.Goexit()
						}
						if err != nil && err != errMail {
							panic(err)
						}
						return err
					}
				}
				m := newMediator(t, o,
					mediator.OnNotification(handler(errMail, false)).Named("mailer"),
					mediator.OnNotification(handler(errCancelled, false)).Named("panicker"),
					mediator.OnNotification(handler(nil, false)),
					mediator.OnNotification(handler(nil, true)).Named("leaver"),
					mediator.OnNotification(handler(nil, false)))
				done := make(chan error)
				go func() { done <- mediator.Publish(t.Context(), m, placed{ID: "o-1"}) }()
				synctest.Wait()
				if running != 5 || len(ids) != 5 {
					t.Errorf("%d run at the same time, with %d ids", running, len(ids))
				}
				close(open)
				err := <-done
				says(t, err, errMail, `notification "orders.placed": handler mailer: no mail today`, "handler panicker: it panicked: cancelled before", "handler leaver: it ended its goroutine")
				says(t, err, errCancelled)
				var p *sixfold.PanicError
				if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "publish_test.go") {
					t.Errorf("no stack of the handler: %v", p)
				}
				if n := strings.Count(err.Error(), "\n"); n != 2 {
					t.Errorf("%d errors: %v", n+1, err)
				}
				for id := range passes {
					if !ids[id] || passes[id] != 1 {
						t.Errorf("the middleware saw %s %d times", id, passes[id])
					}
				}
				if name == "through" && len(passes) != 5 {
					t.Errorf("%d handlers went through the middleware", len(passes))
				}
			})
		})
	}
}

// guarantees: M2
func TestPolicies(t *testing.T) {
	for name, c := range map[string]struct {
		o    mediator.Policy
		how  []mediator.Policy
		runs string
	}{
		"in order":            {mediator.InOrder, nil, "abc"},
		"stop at first":       {mediator.StopAtFirst, nil, "ab"},
		"of the call":         {mediator.AllAtOnce, []mediator.Policy{mediator.StopAtFirst}, "ab"},
		"of the call, milder": {mediator.StopAtFirst, []mediator.Policy{mediator.InOrder}, "abc"},
	} {
		t.Run(name, func(t *testing.T) {
			var runs strings.Builder
			route := func(name string, err error) mediator.Route {
				return mediator.OnNotification(func(context.Context, placed) error { runs.WriteString(name); return err }).Named(name)
			}
			m := newMediator(t, &mediator.Options{Policy: c.o}, route("a", nil), route("b", errMail), route("c", errMail))
			for _, publish := range []func() error{
				func() error { return mediator.Publish(t.Context(), m, placed{}, c.how...) },
				func() error { return mediator.Publish(t.Context(), m, sixfold.Message(placed{}), c.how...) }, // as aggregates collect them
			} {
				runs.Reset()
				err := publish()
				says(t, err, errMail, "handler b")
				if runs.String() != c.runs || strings.Count(err.Error(), "no mail") != len(c.runs)-1 {
					t.Errorf("ran %s: %v", runs.String(), err)
				}
			}
		})
	}
}

func TestManyHandlers(t *testing.T) {
	runs := 0
	routes := make([]mediator.Route, 9) // more than have a place in the publication itself
	for i := range routes {
		routes[i] = mediator.OnNotification(func(context.Context, placed) error { runs++; return nil })
	}
	m := newMediator(t, &mediator.Options{Policy: mediator.InOrder}, routes...)
	if err := mediator.Publish(t.Context(), m, placed{}); err != nil || runs != 9 {
		t.Errorf("%d, %v", runs, err)
	}
}

// What a handler publishes is caused by its own notification, and belongs to the chain of the message around it.
func TestNotificationsHandOnCorrelation(t *testing.T) {
	outer := &sixfold.Envelope{ID: sixfold.NewID(), Type: "outer", CorrelationID: "chain"}
	ctx := sixfold.WithInfo(t.Context(), &sixfold.Info{Envelope: outer, Consumer: "shipping", Attempt: 3})
	m := newMediator(t, &mediator.Options{Source: "shop"}, mediator.OnNotification(func(ctx context.Context, n placed) error {
		info := sixfold.InfoFrom(ctx)
		env, err := sixfold.NewEnvelope(ctx, "shop", nil, n)
		if err != nil {
			return err
		}
		if info.Consumer != "shipping" || info.Attempt != 3 || info.Envelope.CausationID != outer.ID || info.Envelope.Source != "shop" || info.Envelope.Time.IsZero() {
			t.Errorf("%+v", info)
		}
		if env.CausationID != info.Envelope.ID || env.CorrelationID != "chain" {
			t.Errorf("causation %s, correlation %s", env.CausationID, env.CorrelationID)
		}
		return nil
	}))
	if err := mediator.Publish(ctx, m, placed{}); err != nil {
		t.Error(err)
	}
}

func TestInfoIsMadeOnce(t *testing.T) {
	m := newMediator(t, nil, mediator.OnNotification(func(ctx context.Context, _ placed) error {
		infos := make([]*sixfold.Info, 8)
		var all sync.WaitGroup
		for i := range infos {
			all.Go(func() { infos[i] = sixfold.InfoFrom(ctx) })
		}
		all.Wait()
		for _, info := range infos {
			if info != infos[0] {
				t.Error("two ids for one handler")
			}
		}
		if _, ok := ctx.Deadline(); ok || ctx.Done() == nil {
			t.Error("not the context of the caller")
		}
		return nil
	}))
	for range 100 {
		if err := mediator.Publish(t.Context(), m, placed{}); err != nil {
			t.Fatal(err)
		}
	}
}
