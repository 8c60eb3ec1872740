package saga

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/itest/fuse"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Whatever statement a process dies at, a step has taken effect whole or not at all, and in the end once. guarantees: S1, S4, I1
func TestDeathAtEveryStatement(t *testing.T) {
	databases(t, func(w *world) {
		var f fuse.Fuse
		f.Hold()
		_, handlers := w.bar(fuse.DB(w.raw, &f))
		timer := func() *sixfold.Envelope {
			later, err := w.st.Schedule().Delayed().List(w.Context(), schedule.DelayedPage{Limit: 1})
			must(w.T, err)
			env := &sixfold.Envelope{ID: later[0].ID, Key: later[0].Key, Body: later[0].Body}
			_, err = outbox.DecodeAttrs(later[0].Attrs, env)
			must(w.T, err)
			if env.Headers[saga.HeaderSaga] != "tab" || env.Headers[saga.HeaderInstance] == "" || env.Headers[saga.HeaderGeneration] != "1" {
				w.Errorf("a timer has the headers %v", env.Headers)
			}
			return env
		}
		for _, step := range []struct {
			env  func() *sixfold.Envelope
			left string
		}{
			{func() *sixfold.Envelope { return w.envelope(opened{"t-1"}) }, `generation 1 version 1 running {"Drinks":0} timers 2 journal 1; 1 messages, 2 wait`},
			{func() *sixfold.Envelope { return w.envelope(drink{"t-1"}) }, `generation 1 version 2 running {"Drinks":1} timers 2 journal 2; 2 messages, 2 wait`},
			{timer, `generation 1 version 3 running {"Drinks":1} timers 1 journal 3; 3 messages, 2 wait`}, // nobody promoted it
			{func() *sixfold.Envelope { return w.envelope(closed{"t-1"}) }, `generation 1 version 4 completed {"Drinks":1} timers 0 journal 4; 4 messages, 1 wait`},
			{func() *sixfold.Envelope { return w.envelope(opened{"t-1"}) },
				`generation 1 version 4 completed {"Drinks":1} timers 0 journal 4; generation 2 version 1 running {"Drinks":0} timers 2 journal 1; 5 messages, 3 wait`},
		} {
			env, before := step.env(), w.traces("t-1")
			n := int64(0)
			for ; ; n++ {
				f.Last(n)
				err := handle(w.Context(), handlers, env)
				if err == nil {
					break
				}
				if !errors.Is(err, fuse.ErrBlown) || n > 50 {
					w.Fatalf("%s: %v", env.Type, err)
				}
				if after := w.traces("t-1"); after != before {
					w.Fatalf("%s, dead at statement %d: %s, and before it %s", env.Type, n, after, before)
				}
			}
			f.Hold()
			w.Logf("%s has %d places to die at", env.Type, n)
			must(w.T, handle(w.Context(), handlers, env)) // a copy
			if after := w.traces("t-1"); after != step.left {
				w.Errorf("%s left %s, want %s", env.Type, after, step.left)
			}
		}
	})
}

// Many messages for one instance, and many that would begin it, from many connections at once: all take effect. guarantees: S7, I8
func TestManyAtOnce(t *testing.T) {
	databases(t, func(w *world) {
		workers, each := 10, 102
		if testing.Short() || w.small {
			each = 20
		}
		g, handlers := w.bar(sqltx.StdDB(w.raw))
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				for i := range each {
					var m sixfold.Message = drink{"t-1"}
					if i == 0 {
						m = opened{"t-1"} // all of them begin it
					}
					if i == 1 {
						continue // so that each has opened it, and the sums are plain
					}
					env, err := sixfold.NewEnvelope(w.Context(), "test", nil, m)
					if err == nil {
						err = handle(w.Context(), handlers, env)
					}
					if err != nil {
						w.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		drinks := workers * (each - 2)
		all, err := w.st.Sagas().Records().List(w.Context(), saga.Filter{Saga: "tab", Full: true}, saga.Page{Limit: 10})
		must(w.T, err)
		if len(all) != 1 || string(all[0].State) != fmt.Sprintf(`{"Drinks":%d}`, drinks) || all[0].Version != int64(drinks+workers) {
			w.Errorf("%d drinks at once and %d starts: %+v with state %s", drinks, workers, all, all[0].State)
		}
		w.Logf("%+v", g.Stats())
	})
}

// Different instances that begin at once are not in each other's way for good. guarantees: S7
func TestManyBeginAtOnce(t *testing.T) {
	databases(t, func(w *world) {
		g, handlers := w.bar(sqltx.StdDB(w.raw))
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 25 {
					env, err := sixfold.NewEnvelope(w.Context(), "test", nil, opened{fmt.Sprintf("t-%02d-%d", i, worker)})
					if err == nil {
						err = handle(w.Context(), handlers, env)
					}
					if err != nil {
						w.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		counts, err := w.st.Sagas().Records().Counts(w.Context(), "tab")
		must(w.T, err)
		if len(counts) != 1 || counts[0].N != 200 {
			w.Errorf("200 began at once: %+v", counts)
		}
		w.Logf("%+v", g.Stats())
	})
}
