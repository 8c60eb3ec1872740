package schedule

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/deadletter"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sqltx"
)

// The message of a dead occurrence is sent again, once, with the id that it had, and nothing else is. guarantees: C1, I3
func TestReplay(t *testing.T) {
	databases(t, func(w *world) {
		var broken atomic.Bool
		var effects atomic.Int64
		broken.Store(true)
		in, err := inbox.New(w.DB, w.st.Inbox(), nil)
		must(w.T, err)
		local, err := outbox.NewLocal(w.st.Outbox(), w.DB, nil)
		must(w.T, err)
		consumer, err := bus.NewConsumer(local, bus.Subscription{Group: "reminders"}, &bus.Options{Logger: quiet()}, inbox.On(in, func(context.Context, *sql.Tx, reminder) error {
			if broken.Load() {
				return sixfold.Permanent(errors.New("no paper"))
			}
			effects.Add(1)
			return nil
		}))
		must(w.T, err)
		w.tx(func(ctx context.Context, tx sqltx.Tx) error {
			for _, name := range []string{"daily", "other"} {
				if _, err := w.s.Upsert(ctx, tx, schedule.Recurring{Name: name, Spec: "every 1s", MaxRuns: 1, Message: reminder{1}}); err != nil {
					return err
				}
			}
			return nil
		})
		ctx, cancel := context.WithCancel(w.Context())
		done := make(chan error, 1)
		go func() { done <- sixfold.Run(ctx, w.s, consumer) }()
		defer func() {
			cancel()
			must(w.T, <-done)
		}()
		past := func(name string) schedule.Occurrence {
			list, err := w.s.Occurrences(w.Context(), name, time.Time{}, 10)
			must(w.T, err)
			if len(list) != 1 {
				return schedule.Occurrence{}
			}
			return list[0]
		}
		w.until("both are dead", func() bool { return past("daily").Fate == schedule.FateDead && past("other").Fate == schedule.FateDead })
		broken.Store(false)
		letters, err := deadletter.New(w.st.DeadLetters())
		must(w.T, err)
		id := past("daily").ID
		replay := func(name, id string, o deadletter.Options) error {
			_, err := w.s.Replay(w.Context(), letters, name, id, o)
			return err
		}
		ann := deadletter.Options{Who: "ann"}
		if _, err := w.s.Replay(w.Context(), nil, "daily", id, ann); err == nil {
			w.Error("without the dead letters it does something")
		}
		for what, err := range map[string]error{"another schedule": replay("other", id, ann), "another id": replay("daily", sixfold.NewID(), ann), "no id": replay("daily", "", ann), "no schedule": replay("nobody", id, ann)} {
			if !errors.Is(err, schedule.ErrUnknown) {
				w.Errorf("%s: %v", what, err)
			}
		}
		if err := replay("daily", id, deadletter.Options{}); err == nil {
			w.Error("somebody who does not say who he is sent it again")
		}
		nobody, err := letters.Redrive(w.Context(), deadletter.Filter{State: deadletter.Dead, ID: sixfold.NewID()}, ann)
		must(w.T, err)
		if err := replay("daily", id, deadletter.Options{Who: "ann", Run: nobody.Run}); err == nil || errors.Is(err, schedule.ErrNotDead) {
			w.Errorf("it went on with a run that was begun for something else: %v", err)
		}
		if err := replay("daily", id, deadletter.Options{DryRun: true}); err != nil || past("daily").Fate != schedule.FateDead {
			w.Errorf("trying it out: %v, and it is %s", err, past("daily").Fate)
		}
		must(w.T, replay("daily", strings.ToUpper(id), ann))
		w.until("it is handled", func() bool { return past("daily").Fate == schedule.FateHandled })
		if err := replay("daily", id, ann); !errors.Is(err, schedule.ErrNotDead) {
			w.Errorf("once more: %v", err)
		}
		if n := effects.Load(); n != 1 || past("other").Fate != schedule.FateDead || past("daily").ID != id {
			w.Errorf("%d effects, the other one is %s", n, past("other").Fate)
		}
	})
}
