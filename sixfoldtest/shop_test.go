package sixfoldtest_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // a store in memory is warned of, and handlers fail on purpose
	os.Exit(m.Run())
}

// OrderPlaced goes over the broker.
type OrderPlaced struct {
	OrderID string `json:"order_id"`
}

func (OrderPlaced) MessageName() string  { return "orders.placed" }
func (m OrderPlaced) MessageKey() string { return m.OrderID }

// PackOrder goes to a consumer of the same database.
type PackOrder struct {
	OrderID string `json:"order_id"`
}

func (PackOrder) MessageName() string  { return "orders.pack" }
func (m PackOrder) MessageKey() string { return m.OrderID }

// Shop is the program under test: it places orders, hears of them over a broker, and packs them.
type Shop struct {
	Box            *outbox.Outbox
	Relay          *outbox.Relay
	Billing, Depot *bus.Consumer
	Bill           sixfold.Route // handles OrderPlaced and publishes PackOrder

	// Trouble is asked before an order is billed.
	Trouble func(m OrderPlaced) error

	billed, packed []string // changed by commits; read them when it is quiet
}

// NewShop wires the shop up with what a kit has.
func NewShop(kit *sixfoldtest.Kit, opts *bus.Options) (s *Shop, err error) {
	s = &Shop{Trouble: func(OrderPlaced) error { return nil }}
	s.Box, err = outbox.New(kit.Outbox, nil, outbox.To("orders", OrderPlaced{}), outbox.ToConsumer("depot", PackOrder{}))
	if err != nil {
		return nil, err
	}
	in, err := inbox.New(kit.DB, kit.Inbox, nil)
	if err != nil {
		return nil, err
	}
	local, err := outbox.NewLocal(kit.Outbox, kit.DB, nil)
	if err != nil {
		return nil, err
	}
	s.Bill = inbox.On(in, func(ctx context.Context, tx *memory.Tx, m OrderPlaced) error {
		if err := s.Trouble(m); err != nil {
			return err
		}
		if _, err := s.Box.Publish(ctx, in.Tx(tx), PackOrder(m)); err != nil {
			return err
		}
		return tx.OnCommit(func() { s.billed = append(s.billed, m.OrderID) })
	})
	pack := inbox.On(in, func(_ context.Context, tx *memory.Tx, m PackOrder) error {
		return tx.OnCommit(func() { s.packed = append(s.packed, m.OrderID) })
	})
	var errs [3]error
	s.Relay, errs[0] = outbox.NewRelay(kit.Outbox, kit.Broker, nil)
	s.Billing, errs[1] = bus.NewConsumer(kit.Broker, bus.Subscription{Topics: []string{"orders"}, Group: "billing", Ordered: true}, opts, s.Bill)
	s.Depot, errs[2] = bus.NewConsumer(local, bus.Subscription{Group: "depot", Ordered: true}, nil, pack)
	return s, errors.Join(errs[:]...)
}

// Place places orders, each in a transaction of its own.
func (s *Shop) Place(ctx context.Context, kit *sixfoldtest.Kit, orders ...string) error {
	for _, order := range orders {
		err := outbox.Do(ctx, s.Box, kit.DB, func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
			u.Publish(OrderPlaced{OrderID: order})
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// done is what was billed and packed, in the order of names.
func (s *Shop) done() (billed, packed []string) {
	return slices.Sorted(slices.Values(s.billed)), slices.Sorted(slices.Values(s.packed))
}

// newShop is NewShop for tests.
func newShop(t *testing.T, opts *bus.Options) (*Shop, *sixfoldtest.Kit) {
	t.Helper()
	kit := sixfoldtest.New("orders")
	s, err := NewShop(kit, opts)
	if err != nil {
		t.Fatal(err)
	}
	return s, kit
}
