package sixfoldtest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

func receiver(t *testing.T, opts *bus.Options, routes ...sixfold.Route) *sixfoldtest.Receiver {
	t.Helper()
	r, err := sixfoldtest.NewReceiver("billing", opts, routes...)
	must(t, err)
	return r
}

func envelope(t *testing.T, m sixfold.Message) *sixfold.Envelope {
	t.Helper()
	env, err := sixfold.NewEnvelope(t.Context(), "test", nil, m)
	must(t, err)
	return env
}

// [DuplicateDoesNotReEmit]
func TestTwiceTakesEffectOnce(t *testing.T) { // guarantees: I1
	for _, together := range []bool{true, false} {
		shop, kit := newShop(t, nil)
		r := receiver(t, nil, shop.Bill)
		env := envelope(t, OrderPlaced{"o-1"})
		if together {
			must(t, r.DeliverEnvelopes(t.Context(), env, env, env))
		} else {
			must(t, r.DeliverEnvelopes(t.Context(), env))
			must(t, r.DeliverEnvelopes(t.Context(), env))
		}
		if got := sixfoldtest.Published[PackOrder](t, kit.Outbox); len(got) != 1 || !slices.Equal(shop.billed, []string{"o-1"}) {
			t.Errorf("billed %q, published %v", shop.billed, got)
		}
	}
}

// Without an inbox the handler itself must see that it is the second time: it does see it.
func TestEveryDeliveryReachesAHandlerWithoutInbox(t *testing.T) {
	type arrival struct {
		order       string
		redelivered bool
	}
	var got []arrival
	r := receiver(t, nil, sixfold.On(func(ctx context.Context, m OrderPlaced) error {
		info := sixfold.InfoFrom(ctx)
		if info.Consumer != "billing" || info.Attempt != 1 {
			t.Errorf("the handler knows %+v", info)
		}
		got = append(got, arrival{m.OrderID, info.Redelivered})
		return nil
	}))
	one, two, three := envelope(t, OrderPlaced{"1"}), envelope(t, OrderPlaced{"2"}), envelope(t, OrderPlaced{"3"})
	must(t, r.DeliverEnvelopes(t.Context(), three, one, two, one))
	want := []arrival{{"3", false}, {"1", false}, {"2", false}, {"1", true}}
	if !slices.Equal(got, want) {
		t.Errorf("delivered %v, want %v", got, want)
	}
}

func TestFailuresAreAnswered(t *testing.T) {
	closed := errors.New("the bank is closed")
	failures := 0
	r := receiver(t, nil, sixfold.On(func(_ context.Context, m OrderPlaced) error {
		if m.OrderID == "good" {
			return nil
		}
		failures++
		return closed
	}))
	err := r.Deliver(t.Context(), OrderPlaced{"bad"}, OrderPlaced{"good"}, PackOrder{"nobody's"})
	if !errors.Is(err, closed) || failures != 1 {
		t.Errorf("after %d failures: %v", failures, err)
	}
	reasons := map[string]string{}
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var u *sixfoldtest.UndeliveredError
		if !errors.As(err, &u) {
			t.Fatal(err)
		}
		reasons[u.Envelope.Key] = u.Reason
	}
	if len(reasons) != 2 || reasons["bad"] != "attempts" || reasons["nobody's"] != "no-handler" {
		t.Errorf("undelivered: %v", reasons)
	}
	must(t, r.Deliver(t.Context()))
}

func TestAttemptsAreThoseOfTheConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var attempts []int
		died := ""
		r := receiver(t, &bus.Options{Retry: sixfold.Retry{MaxAttempts: 3}, Hooks: bus.Hooks{Dead: func(_ *bus.Delivery, reason string, _ error) { died = reason }}},
			sixfold.On(func(ctx context.Context, _ OrderPlaced) error {
				attempts = append(attempts, sixfold.InfoFrom(ctx).Attempt)
				return errors.New("not today")
			}))
		if err := r.Deliver(t.Context(), OrderPlaced{"o-1"}); err == nil || !slices.Equal(attempts, []int{1, 2, 3}) || died != "attempts" {
			t.Errorf("attempts %v, the test's own hook heard %q, %v", attempts, died, err)
		}
	})
}

func TestLate(t *testing.T) {
	handled := 0
	r := receiver(t, nil, sixfold.On(func(context.Context, OrderPlaced) error { handled++; return nil }))
	env := envelope(t, OrderPlaced{"o-1"})
	env.Expires = env.Time.Add(time.Hour)
	must(t, r.DeliverEnvelopes(t.Context(), sixfoldtest.Late(env, time.Minute)))
	err := r.DeliverEnvelopes(t.Context(), sixfoldtest.Late(env, 2*time.Hour))
	var u *sixfoldtest.UndeliveredError
	if !errors.As(err, &u) || u.Reason != "expired" || handled != 1 {
		t.Errorf("handled %d times, %v", handled, err)
	}
	if late := sixfoldtest.Late(envelope(t, OrderPlaced{"o-2"}), time.Hour); !late.Expires.IsZero() {
		t.Errorf("a message that does not expire was given an end: %v", late.Expires)
	}
}

// The inbox forgets after its retention, in the bubble's time, and what comes later takes effect again.
func TestAfterTheRetention(t *testing.T) { // guarantees: I5
	synctest.Test(t, func(t *testing.T) {
		kit := sixfoldtest.New()
		in, err := inbox.New(kit.DB, kit.Inbox, &inbox.Options{Retention: 24 * time.Hour})
		must(t, err)
		effects := 0
		r := receiver(t, nil, inbox.On(in, func(_ context.Context, tx *memory.Tx, _ OrderPlaced) error {
			return tx.OnCommit(func() { effects++ })
		}))
		env := envelope(t, OrderPlaced{"o-1"})
		for i, want := range []int{1, 1, 2} {
			must(t, r.DeliverEnvelopes(t.Context(), env))
			if effects != want {
				t.Errorf("delivered %d times: %d effects, want %d", i+1, effects, want)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*12*time.Hour)
			must(t, in.Maintain(ctx))
			cancel()
		}
	})
}

func TestBadReceiversAndDeliveries(t *testing.T) {
	if _, err := sixfoldtest.NewReceiver("", nil); err == nil {
		t.Error("a receiver without group and routes")
	}
	shop, _ := newShop(t, nil)
	r := receiver(t, nil, shop.Bill)
	if err := r.DeliverEnvelopes(t.Context(), nil); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("a nil envelope: %v", err)
	}
	if err := r.Deliver(t.Context(), (*pointer)(nil)); !errors.Is(err, sixfold.ErrInvalid) {
		t.Errorf("a nil message: %v", err)
	}
}

type pointer struct{}

func (*pointer) MessageName() string { return "test.pointer" }

// A handler that hangs ends with the caller's context, and the error says how far it came.
func TestDeliverEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := receiver(t, nil, sixfold.On(func(ctx context.Context, m OrderPlaced) error {
			if m.OrderID == "hangs" {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := r.Deliver(ctx, OrderPlaced{"o-1"}, OrderPlaced{"hangs"}, OrderPlaced{"o-3"})
		if err == nil || !strings.Contains(err.Error(), "2 of 3 messages") {
			t.Errorf("after a second: %v", err)
		}
	})
}

func TestRecorderKnowsEveryDestination(t *testing.T) {
	kit := sixfoldtest.New("orders")
	box, err := outbox.New(kit.Outbox, nil, outbox.To("orders", OrderPlaced{}), outbox.ToConsumer("depot", OrderPlaced{}, PackOrder{}),
		outbox.To("archive", PackOrder{}).Via("second"))
	must(t, err)
	must(t, outbox.Do(t.Context(), box, kit.DB, func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
		for _, id := range []string{"1", "2"} {
			u.Publish(OrderPlaced{id})
			u.Publish(PackOrder{id}, outbox.Header("shelf", "a"))
		}
		return nil
	}))
	all, err := kit.Outbox.All(t.Context())
	must(t, err)
	var got []string
	for _, p := range all {
		got = append(got, p.Envelope.Type+" "+p.Envelope.Key+" to "+p.To+" via "+p.Via)
		if p.Local != (p.To == "depot") || p.Envelope.Type == "orders.pack" && p.Envelope.Headers["shelf"] != "a" {
			t.Errorf("%+v", p)
		}
	}
	want := []string{"orders.placed 1 to orders via ", "orders.pack 1 to archive via second", "orders.placed 2 to orders via ", "orders.pack 2 to archive via second",
		"orders.placed 1 to depot via ", "orders.pack 1 to depot via ", "orders.placed 2 to depot via ", "orders.pack 2 to depot via "}
	if !slices.Equal(got, want) {
		t.Errorf("published:\n%s", strings.Join(got, "\n"))
	}
	if got := sixfoldtest.Published[PackOrder](t, kit.Outbox); !slices.Equal(got, []PackOrder{{"1"}, {"2"}}) {
		t.Errorf("each once: %v", got)
	}
}

// OldPack is what PackOrder was called and how it looked before.
type newPack struct{ Order string }

func (newPack) MessageName() string { return "orders.pack2" }
func (newPack) MessageHistory() []sixfold.Former {
	return []sixfold.Former{{Name: "orders.pack", Upcast: func(body []byte) ([]byte, error) {
		return []byte(strings.ReplaceAll(string(body), "order_id", "Order")), nil
	}}}
}

func TestFormerFormsAreFound(t *testing.T) {
	shop, kit := newShop(t, nil)
	must(t, receiver(t, nil, shop.Bill).Deliver(t.Context(), OrderPlaced{"o-1"}))
	if got := sixfoldtest.Published[newPack](t, kit.Outbox); !slices.Equal(got, []newPack{{"o-1"}}) {
		t.Errorf("a message under its former name: %v", got)
	}
}

// unreadable has the name of PackOrder and another form.
type unreadable struct {
	OrderID int `json:"order_id"`
}

func (unreadable) MessageName() string { return "orders.pack" }

func TestUnreadableEndsTheTest(t *testing.T) {
	shop, kit := newShop(t, nil)
	must(t, receiver(t, nil, shop.Bill).Deliver(t.Context(), OrderPlaced{"o-1"}))
	tb := &failing{TB: t}
	sixfoldtest.Published[unreadable](tb, kit.Outbox)
	if !strings.Contains(tb.said, "orders.pack") || strings.Contains(tb.said, "o-1\"") {
		t.Errorf("the test heard %q", tb.said)
	}
}
