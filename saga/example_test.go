package saga_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

type (
	// SubscriptionStarted begins a renewal.
	SubscriptionStarted struct{ Subscription string }
	// PaymentReceived may come at any time.
	PaymentReceived struct{ Subscription string }
	// RenewalDue is its timer.
	RenewalDue struct{ Subscription string }
	// ChargeCard and SubscriptionLapsed are what it publishes.
	ChargeCard         struct{ Subscription string }
	SubscriptionLapsed struct{ Subscription string }
)

func (SubscriptionStarted) MessageName() string  { return "subscription.started" }
func (m SubscriptionStarted) MessageKey() string { return m.Subscription }
func (PaymentReceived) MessageName() string      { return "payment.received" }
func (m PaymentReceived) MessageKey() string     { return m.Subscription }
func (RenewalDue) MessageName() string           { return "subscription.renewal_due" }
func (ChargeCard) MessageName() string           { return "payment.charge_card" }
func (m ChargeCard) MessageKey() string          { return m.Subscription }
func (SubscriptionLapsed) MessageName() string   { return "subscription.lapsed" }
func (m SubscriptionLapsed) MessageKey() string  { return m.Subscription }

// Renewal is the state of one subscription.
type Renewal struct {
	Charged int `json:"charged"`
	Paid    int `json:"paid"`
}

// period is short, so that the tests of the example are quick.
const period = 10 * time.Minute

func renewals(box *saga.Box[*memory.Tx]) (*saga.Saga[*memory.Tx, Renewal], error) {
	return saga.Define("renewal", box,
		saga.StartedBy(func(m SubscriptionStarted) string { return m.Subscription },
			func(ctx context.Context, tx *memory.Tx, s *Renewal, m SubscriptionStarted, fx *saga.Effects) error {
				s.Charged++
				fx.Send(ChargeCard(m))
				fx.After(period, RenewalDue(m))
				return nil
			}),
		saga.On(func(m PaymentReceived) string { return m.Subscription },
			func(ctx context.Context, tx *memory.Tx, s *Renewal, m PaymentReceived, fx *saga.Effects) error {
				s.Paid++
				return nil
			}),
		saga.OnTimeout(func(ctx context.Context, tx *memory.Tx, s *Renewal, m RenewalDue, fx *saga.Effects) error {
			if s.Paid < s.Charged {
				fx.Publish(SubscriptionLapsed(m))
				fx.Fail("not paid")
				return nil
			}
			s.Charged++
			fx.Send(ChargeCard(m))
			fx.After(period, m)
			return nil
		}))
}

// newRenewals wires them on a database in the process. On a real one, kit is store.Postgres and the like.
func newRenewals(kit *sixfoldtest.Kit) (*outbox.Outbox, *saga.Saga[*memory.Tx, Renewal], error) {
	out, err := outbox.New(kit.Outbox, nil,
		outbox.ToConsumer("billing", SubscriptionStarted{}, PaymentReceived{}, RenewalDue{}),
		outbox.To("payments", ChargeCard{}), outbox.To("subscriptions", SubscriptionLapsed{}))
	if err != nil {
		return nil, nil, err
	}
	in, err := inbox.New(kit.DB, kit.Inbox, nil)
	if err != nil {
		return nil, nil, err
	}
	box, err := saga.NewBox(in, out, kit.Store.Sagas(), nil)
	if err != nil {
		return nil, nil, err
	}
	g, err := renewals(box)
	return out, g, err
}

// A subscription that is paid, seen by a person.
func Example() {
	ctx := context.Background()
	kit := sixfoldtest.New()
	_, renewal, err := newRenewals(kit)
	if err != nil {
		panic(err)
	}
	receiver, err := sixfoldtest.NewReceiver("billing", nil, renewal.Routes()...)
	if err != nil {
		panic(err)
	}
	if err := receiver.Deliver(ctx, SubscriptionStarted{"s-1"}, PaymentReceived{"s-1"}, PaymentReceived{"s-2"}); err != nil {
		panic(err)
	}
	desk, err := saga.NewDesk(kit.DB, kit.Store.Sagas())
	if err != nil {
		panic(err)
	}
	in, err := desk.Show(ctx, "renewal", "s-1")
	if err != nil {
		panic(err)
	}
	fmt.Printf("%v: %s, waits for %d timer\n", in.Status, in.State, len(in.Timers))
	entries, err := desk.History(ctx, in.ID, 0, 0)
	if err != nil {
		panic(err)
	}
	for _, e := range entries {
		fmt.Println(e.Step, len(e.Detail.Changes), "changes,", len(e.Detail.Effects), "effects")
	}
	fmt.Println("payments for nothing:", renewal.Stats().NoInstance)
	// Output:
	// running: {"charged":1,"paid":1}, waits for 1 timer
	// subscription.started 2 changes, 2 effects
	// payment.received 1 changes, 0 effects
	// payments for nothing: 1
}

// In a bubble of testing/synctest a renewal takes no time.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New()
		out, renewal, err := newRenewals(kit)
		if err != nil {
			t.Fatal(err)
		}
		local, err := outbox.NewLocal(kit.Outbox, kit.DB, nil)
		if err != nil {
			t.Fatal(err)
		}
		consumer, err := bus.NewConsumer(local, bus.Subscription{Group: "billing", Ordered: true}, nil, renewal.Routes()...)
		if err != nil {
			t.Fatal(err)
		}
		scheduler, err := schedule.New(kit.Store.Schedule(), out, nil)
		if err != nil {
			t.Fatal(err)
		}
		kit.Start(t, scheduler, consumer)
		err = outbox.Do(t.Context(), out, kit.DB, func(ctx context.Context, tx *memory.Tx, u *outbox.Unit) error {
			u.Publish(SubscriptionStarted{"s-1"})
			u.Publish(PaymentReceived{"s-1"})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		sixfoldtest.Advance(period + time.Second)
		if n := len(sixfoldtest.Published[ChargeCard](t, kit.Outbox)); n != 2 {
			t.Errorf("after one renewal the card was charged %d times", n)
		}
		sixfoldtest.Advance(period)
		if n := len(sixfoldtest.Published[SubscriptionLapsed](t, kit.Outbox)); n != 1 {
			t.Errorf("nobody paid, and it lapsed %d times", n)
		}
	})
}
