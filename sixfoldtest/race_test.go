package sixfoldtest_test

import (
	"context"
	"errors"
	"fmt"
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

// looked is a store that tells when Quiet has looked at its second table, the local one.
type looked struct {
	outbox.Store
	looks *int
	at    func(look int)
}

func (l looked) Keeper() outbox.Keeper { return lookedKeeper{l.Store.Keeper(), l} }

type lookedKeeper struct {
	outbox.Keeper
	l looked
}

func (k lookedKeeper) Stats(ctx context.Context, t outbox.Table) (outbox.Stats, error) {
	st, err := k.Keeper.Stats(ctx, t)
	if t == outbox.ToLocal {
		*k.l.looks++
		k.l.at(*k.l.looks)
	}
	return st, err
}

// A handler publishes, and its message is settled, after Quiet has looked at the outbox and before it looks at the broker.
func TestWhatHappensBetweenTwoLooksIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New("orders")
		gate := make(chan struct{})
		var shop *Shop
		kit.Outbox = sixfoldtest.Record(looked{kit.Store.Outbox(), new(int), func(look int) {
			if look == 1 {
				close(gate)
				time.Sleep(time.Second) // until all has come to rest
			}
		}})
		shop, err := NewShop(kit, nil)
		must(t, err)
		shop.Trouble = func(OrderPlaced) error { <-gate; return nil }
		must(t, shop.Place(t.Context(), kit, "o-1"))
		app := kit.Start(t, shop.Relay, shop.Billing) // and no depot
		time.Sleep(time.Second)                       // the message is at the broker, and its handler has begun
		wantOpen(t, app, "orders.pack")
	})
}

// Somebody publishes after the last look at the outbox.
func TestWhatIsPublishedMeanwhileIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New("orders")
		var shop *Shop
		kit.Outbox = sixfoldtest.Record(looked{kit.Store.Outbox(), new(int), func(look int) {
			if look == 2 {
				must(t, shop.Place(t.Context(), kit, "o-1"))
			}
		}})
		shop, err := NewShop(kit, nil)
		must(t, err)
		wantOpen(t, kit.Start(t, shop.Depot), "orders.placed")
	})
}

func wantOpen(t *testing.T, app *sixfoldtest.App, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var open *sixfoldtest.OpenError
	if err := sixfoldtest.Quiet(ctx, app); !errors.As(err, &open) || !strings.Contains(err.Error(), what) {
		t.Errorf("with a %s that nobody handles, Quiet answers %v", what, err)
	}
}

// What was relayed, and is gone from the table before anybody looks, was published all the same.
func TestRelayedIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop, kit := newShop(t, nil)
		kit.Start(t, shop.Relay)
		must(t, shop.Place(t.Context(), kit, "o-1"))
		time.Sleep(time.Second)
		if st, err := kit.Outbox.Keeper().Stats(t.Context(), outbox.ToBroker); err != nil || st.Pending != 0 {
			t.Fatalf("%d rows are left, %v", st.Pending, err)
		}
		if got := sixfoldtest.Published[OrderPlaced](t, kit.Outbox); len(got) != 1 {
			t.Errorf("published: %v", got)
		}
	})
}

func TestBrokerHasPlacesForDeadLettersAndTaps(t *testing.T) {
	broker := sixfoldtest.NewBroker("orders")
	taps := 0
	broker.Tap(func(string, *sixfold.Envelope) { taps++ })
	publisher, err := bus.NewPublisher(broker, nil)
	must(t, err)
	for _, topic := range []string{"orders", "orders.dead"} {
		if _, err := publisher.Publish(t.Context(), topic, OrderPlaced{"o-1"}); err != nil {
			t.Error(err)
		}
	}
	if _, err := publisher.Publish(t.Context(), "other", OrderPlaced{"o-2"}); !errors.Is(err, bus.ErrUnroutable) {
		t.Errorf("a topic that nobody made: %v", err)
	}
	must(t, publisher.Close(t.Context()))
	if got := sixfoldtest.Published[OrderPlaced](t, broker); len(got) != 2 || taps != 2 {
		t.Errorf("sent: %v, and the test's own tap heard %d", got, taps)
	}
}

// A topic that only a consumer knows has a place for dead letters as well.
func TestSubscribedTopicsHavePlacesForDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New()
		c, err := bus.NewConsumer(kit.Broker, bus.Subscription{Topics: []string{"refunds"}, Group: "billing"}, nil,
			sixfold.On(func(context.Context, OrderPlaced) error { return sixfold.Permanent(errors.New("no")) }))
		must(t, err)
		app := kit.Start(t, c)
		synctest.Wait() // it has subscribed
		publisher, err := bus.NewPublisher(kit.Broker, nil)
		must(t, err)
		_, err = publisher.Publish(t.Context(), "refunds", OrderPlaced{"o-1"})
		must(t, err)
		must(t, publisher.Close(t.Context()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		must(t, sixfoldtest.Quiet(ctx, app))
		if dead := sixfoldtest.Dead[OrderPlaced](t, kit.Broker); len(dead) != 1 {
			t.Errorf("dead letters: %v", dead)
		}
	})
}

// More rows than one read has, with those of another consumer between them.
func TestRecorderReadsAll(t *testing.T) {
	kit := sixfoldtest.New()
	box, err := outbox.New(kit.Outbox, nil, outbox.ToConsumer("depot", PackOrder{}), outbox.ToConsumer("audit", PackOrder{}))
	must(t, err)
	const count = 1700
	must(t, outbox.Do(t.Context(), box, kit.DB, func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
		for i := range count {
			u.Publish(PackOrder{fmt.Sprint(i)})
		}
		return nil
	}))
	all, err := kit.Outbox.All(t.Context())
	must(t, err)
	if len(all) != 2*count {
		t.Errorf("%d publications of %d messages with two destinations", len(all), count)
	}
	for i, m := range sixfoldtest.Published[PackOrder](t, kit.Outbox) {
		if m.OrderID != fmt.Sprint(i) {
			t.Fatalf("message %d is %q: not in order", i, m.OrderID)
		}
	}
}

// An event that has no place at the broker is settled, as docs/testing.md says.
func TestWhatNobodyWantsIsQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New()
		shop, err := NewShop(kit, nil)
		must(t, err)
		app := kit.Start(t, shop.Relay, shop.Depot)
		must(t, shop.Place(t.Context(), kit, "o-1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		must(t, sixfoldtest.Quiet(ctx, app))
		if sent := sixfoldtest.Published[OrderPlaced](t, kit.Broker); len(sent) != 0 {
			t.Errorf("the broker took %v without a place for it", sent)
		}
		if got := sixfoldtest.Published[OrderPlaced](t, kit.Outbox); len(got) != 1 {
			t.Errorf("published: %v", got)
		}
	})
}
