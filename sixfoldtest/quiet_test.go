package sixfoldtest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A message goes over the broker, its handler publishes another one, and Quiet waits for both: at once, and after
// retries that take an hour of the bubble.
func TestQuietWaitsForWhatHandlersPublish(t *testing.T) {
	for name, failures := range map[string]int{"at once": 0, "after retries": 8} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shop, kit := newShop(t, &bus.Options{Retry: sixfold.Retry{Backoff: func(int) time.Duration { return 10 * time.Minute }}})
				tries := 0
				shop.Trouble = func(m OrderPlaced) error {
					if m.OrderID == "o-2" && tries < failures {
						tries++
						return errors.New("not yet")
					}
					return nil
				}
				app := kit.Start(t, shop.Relay, shop.Billing, shop.Depot)
				must(t, shop.Place(t.Context(), kit, "o-1", "o-2", "o-3"))
				must(t, sixfoldtest.Quiet(t.Context(), app))
				billed, packed := shop.done()
				if want := []string{"o-1", "o-2", "o-3"}; !slices.Equal(billed, want) || !slices.Equal(packed, want) {
					t.Errorf("quiet with %q billed and %q packed", billed, packed)
				}
				if tries != failures {
					t.Errorf("%d failures, want %d", tries, failures)
				}
			})
		})
	}
}

// Quiet, again and again right after a publish, must never answer early.
func TestQuietIsNeverEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, kit := newShop(t, nil)
		app := kit.Start(t, shop.Relay, shop.Billing, shop.Depot)
		for i := range 300 {
			must(t, shop.Place(t.Context(), kit, fmt.Sprint("o-", i)))
			must(t, sixfoldtest.Quiet(t.Context(), app))
			if len(shop.packed) != i+1 {
				t.Fatalf("quiet after order %d with %d orders packed", i+1, len(shop.packed))
			}
		}
	})
}

// The same on the process's own clock, where everything happens at once.
func TestQuietIsNeverEarlyInRealTime(t *testing.T) {
	shop, kit := newShop(t, nil)
	app := kit.Start(t, shop.Relay, shop.Billing, shop.Depot)
	for i := range 50 {
		must(t, shop.Place(t.Context(), kit, fmt.Sprint("o-", i)))
		must(t, sixfoldtest.Quiet(t.Context(), app))
		packed := 0
		must(t, kit.DB.Run(t.Context(), func(tx *memory.Tx) error { return tx.OnCommit(func() { packed = len(shop.packed) }) }))
		if packed != i+1 {
			t.Fatalf("quiet after order %d with %d orders packed", i+1, packed)
		}
	}
}

func TestDeadIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, kit := newShop(t, nil)
		shop.Trouble = func(m OrderPlaced) error {
			if m.OrderID == "o-2" {
				return sixfold.Permanent(errors.New("there is no such order"))
			}
			return nil
		}
		app := kit.Start(t, shop.Relay, shop.Billing, shop.Depot)
		must(t, shop.Place(t.Context(), kit, "o-1", "o-2"))
		must(t, sixfoldtest.Quiet(t.Context(), app))
		if dead := sixfoldtest.Dead[OrderPlaced](t, kit.Inbox); !slices.Equal(dead, []OrderPlaced{{"o-2"}}) {
			t.Errorf("dead letters: %v", dead)
		}
		if sent := sixfoldtest.Published[OrderPlaced](t, kit.Broker); !slices.Equal(sent, []OrderPlaced{{"o-1"}, {"o-2"}}) {
			t.Errorf("sent: %v", sent)
		}
	})
}

// What is open is named, with the reason where somebody knows it.
func TestQuietNamesWhatIsOpen(t *testing.T) {
	for _, test := range []struct {
		name string
		set  func(t *testing.T, shop *Shop, kit *sixfoldtest.Kit) *sixfoldtest.App
		want []string
	}{
		{"no relay", func(t *testing.T, shop *Shop, kit *sixfoldtest.Kit) *sixfoldtest.App {
			return kit.Start(t, shop.Billing, shop.Depot)
		}, []string{"orders.placed", `"o-1"`, "topic orders"}},
		{"no consumer of the broker", func(t *testing.T, shop *Shop, kit *sixfoldtest.Kit) *sixfoldtest.App {
			return kit.Start(t, shop.Relay, shop.Depot)
		}, []string{"1 of 1 messages on topic orders", "orders.placed"}},
		{"no local consumer", func(t *testing.T, shop *Shop, kit *sixfoldtest.Kit) *sixfoldtest.App {
			return kit.Start(t, shop.Relay, shop.Billing)
		}, []string{"orders.pack", "local consumer depot"}},
		{"a handler that fails", func(t *testing.T, shop *Shop, kit *sixfoldtest.Kit) *sixfoldtest.App {
			shop.Trouble = func(OrderPlaced) error { return errors.New("the bank is closed") }
			return kit.Start(t, shop.Relay, shop.Billing, shop.Depot)
		}, []string{"orders.placed", `"o-1"`, "parked for consumer billing", `consumer "billing"`, "the bank is closed"}},
		{"a broker that does not take it", func(t *testing.T, shop *Shop, kit *sixfoldtest.Kit) *sixfoldtest.App {
			kit.Broker.RefuseSends(func(string, *sixfold.Envelope) error { return bus.ErrTooLarge })
			return kit.Start(t, shop.Relay, shop.Billing, shop.Depot)
		}, []string{"orders.placed", "the broker does not take", bus.ErrTooLarge.Error()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shop, kit := newShop(t, &bus.Options{Retry: sixfold.Retry{MaxAttempts: 1000}})
				app := test.set(t, shop, kit)
				must(t, shop.Place(t.Context(), kit, "o-1"))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				err := sixfoldtest.Quiet(ctx, app)
				var open *sixfoldtest.OpenError
				if !errors.As(err, &open) || !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("Quiet with an open message: %v", err)
				}
				for _, part := range test.want {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q does not say %q", err, part)
					}
				}
				kit.Broker.RefuseSends(nil)
				shop.Trouble = func(OrderPlaced) error { return nil }
			})
		})
	}
}

func TestQuietSaysThatTheAppStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, kit := newShop(t, nil)
		broken := errors.New("refused")
		tb := &failing{TB: t}
		app := kit.Start(tb, sixfold.RunFunc(func(context.Context) error { return broken }))
		must(t, shop.Place(t.Context(), kit, "o-1"))
		if err := sixfoldtest.Quiet(t.Context(), app); !errors.Is(err, broken) {
			t.Errorf("the app ended with an error, and Quiet answers %v", err)
		}
		tb.clean()
		if !strings.Contains(tb.said, broken.Error()) {
			t.Errorf("the test heard %q of an app that did not stop cleanly", tb.said)
		}
	})
}

// failing notes what a test is told.
type failing struct {
	testing.TB
	said  string
	clean func()
}

func (f *failing) Helper()                         {}
func (f *failing) Cleanup(fn func())               { f.clean = fn }
func (f *failing) Errorf(text string, args ...any) { f.said += fmt.Sprintf(text, args...) }
func (f *failing) Fatalf(text string, args ...any) { f.said += fmt.Sprintf(text, args...) }

// A rolled back transaction leaves nothing to wait for, and an idle app is quiet.
func TestIdleIsQuiet(t *testing.T) { // guarantees: O1
	synctest.Test(t, func(t *testing.T) {
		shop, kit := newShop(t, nil)
		app := kit.Start(t, shop.Relay, shop.Billing, shop.Depot)
		back := errors.New("rolled back on purpose")
		err := outbox.Do(t.Context(), shop.Box, kit.DB, func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
			u.Publish(OrderPlaced{OrderID: "o-1"})
			return back
		})
		if !errors.Is(err, back) {
			t.Error(err)
		}
		must(t, sixfoldtest.Quiet(t.Context(), app))
		if got := sixfoldtest.Published[OrderPlaced](t, kit.Outbox); len(got) != 0 {
			t.Errorf("a rolled back transaction published %v", got)
		}
	})
}
