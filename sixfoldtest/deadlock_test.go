package sixfoldtest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// Two handlers want what the other one holds. The one that loses runs again in a fresh transaction, and that is no attempt.
func TestDeadlockedHandlerRunsAgain(t *testing.T) { // guarantees: I8
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New()
		in, err := inbox.New(kit.DB, kit.Inbox, nil)
		must(t, err)
		ran, effects := make(chan string, 10), map[string]int{}
		handler := func(first, second string, pause time.Duration) sixfold.Route {
			return inbox.On(in, func(ctx context.Context, tx *memory.Tx, m OrderPlaced) error {
				if attempt := sixfold.InfoFrom(ctx).Attempt; attempt != 1 {
					t.Errorf("%s: attempt %d", m.OrderID, attempt)
				}
				ran <- m.OrderID
				if err := tx.Lock(ctx, first); err != nil {
					return err
				}
				time.Sleep(pause)
				if err := tx.Lock(ctx, second); err != nil {
					return err
				}
				return tx.OnCommit(func() { effects[m.OrderID]++ })
			})
		}
		done := make(chan error, 1)
		one, two := receiver(t, nil, handler("a", "b", time.Second)), receiver(t, nil, handler("b", "a", 2*time.Second))
		go func() { done <- one.Deliver(t.Context(), OrderPlaced{"o-1"}) }()
		must(t, two.Deliver(t.Context(), OrderPlaced{"o-2"}))
		must(t, <-done)
		if len(ran) != 3 || effects["o-1"] != 1 || effects["o-2"] != 1 {
			t.Errorf("%d runs of 2 handlers with one deadlock, effects %v", len(ran), effects)
		}
	})
}
