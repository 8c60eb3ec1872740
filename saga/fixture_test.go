package saga_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// A subscription is charged when it begins and each time that a timer says so, until it is cancelled or not paid.

type (
	Subscribed struct{ ID string }
	Paid       struct{ ID string }
	Cancelled  struct{ ID string }
	Due        struct{ ID string }
	Charge     struct{ ID string }
	Lapsed     struct{ ID string }
)

func (Subscribed) MessageName() string  { return "billing.subscribed" }
func (m Subscribed) MessageKey() string { return m.ID }
func (Paid) MessageName() string        { return "billing.paid" }
func (m Paid) MessageKey() string       { return m.ID }
func (Cancelled) MessageName() string   { return "billing.cancelled" }
func (m Cancelled) MessageKey() string  { return m.ID }
func (Due) MessageName() string         { return "billing.due" }
func (Charge) MessageName() string      { return "payments.charge" }
func (m Charge) MessageKey() string     { return m.ID }
func (Lapsed) MessageName() string      { return "billing.lapsed" }

type subscription struct {
	Charged int  `json:"charged"`
	Paid    int  `json:"paid"`
	Seen    int  `json:"seen,omitempty"`
	Owes    bool `json:"owes,omitempty"`
}

// month is short: in a bubble whatever polls does so all the time that passes.
const month = 10 * time.Minute

// program is a kit with a box.
type program struct {
	*sixfoldtest.Kit
	out   *outbox.Outbox
	in    *inbox.Box[*memory.Tx]
	box   *saga.Box[*memory.Tx]
	store saga.Store
	// fail, if not nil, is asked by every step at its end.
	fail func(step string) error
}

func newProgram(t testing.TB, wrap func(saga.Store) saga.Store) *program {
	t.Helper()
	p := &program{Kit: sixfoldtest.New()}
	p.store = p.Store.Sagas()
	if wrap != nil {
		p.store = wrap(p.store)
	}
	var err error
	p.out, err = outbox.New(p.Outbox, nil, outbox.ToConsumer("billing", Subscribed{}, Paid{}, Cancelled{}, Due{}), outbox.To("payments", Charge{}, Lapsed{}))
	must(t, err)
	p.in, err = inbox.New(p.DB, p.Inbox, &inbox.Options{Logger: quiet})
	must(t, err)
	p.box, err = saga.NewBox(p.in, p.out, p.store, &saga.Options{Logger: quiet})
	must(t, err)
	return p
}

var quiet = slog.New(slog.DiscardHandler)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *program) asked(step string) error {
	if p.fail == nil {
		return nil
	}
	return p.fail(step)
}

func (p *program) subscribed(_ context.Context, _ *memory.Tx, s *subscription, m Subscribed, fx *saga.Effects) error {
	s.Charged++
	fx.Send(Charge(m))
	fx.After(month, Due(m))
	return p.asked("subscribed")
}

func (p *program) paid(_ context.Context, _ *memory.Tx, s *subscription, m Paid, fx *saga.Effects) error {
	s.Paid, s.Owes = s.Paid+1, false
	return p.asked("paid")
}

func (p *program) due(_ context.Context, _ *memory.Tx, s *subscription, m Due, fx *saga.Effects) error {
	if s.Paid < s.Charged {
		fx.Publish(Lapsed(m))
		fx.Fail("not paid")
		return p.asked("due")
	}
	s.Charged++
	fx.Send(Charge(m))
	fx.After(month, m)
	return p.asked("due")
}

func (p *program) cancelled(_ context.Context, _ *memory.Tx, s *subscription, m Cancelled, fx *saga.Effects) error {
	fx.Complete()
	return p.asked("cancelled")
}

func bySubscription[M Subscribed | Paid | Cancelled](m M) string { return Subscribed(m).ID }

func (p *program) steps() []saga.Step[*memory.Tx, subscription] {
	return []saga.Step[*memory.Tx, subscription]{
		saga.StartedBy(bySubscription[Subscribed], p.subscribed).Restarting(),
		saga.On(bySubscription[Paid], p.paid),
		saga.On(bySubscription[Cancelled], p.cancelled),
		saga.OnTimeout(p.due),
	}
}

func (p *program) define(t testing.TB) *saga.Saga[*memory.Tx, subscription] {
	t.Helper()
	g, err := saga.Define("renewal", p.box, p.steps()...)
	must(t, err)
	return g
}

// start runs the saga's consumer and a scheduler.
func (p *program) start(t testing.TB, routes ...sixfold.Route) {
	t.Helper()
	local, err := outbox.NewLocal(p.Outbox, p.DB, nil)
	must(t, err)
	consumer, err := bus.NewConsumer(local, bus.Subscription{Group: "billing", Ordered: true}, &bus.Options{Logger: quiet}, routes...)
	must(t, err)
	scheduler, err := schedule.New(p.Store.Schedule(), p.out, &schedule.Options{Poll: month})
	must(t, err)
	p.Start(t, scheduler, consumer)
}

// publish commits messages.
func (p *program) publish(t testing.TB, ms ...sixfold.Message) {
	t.Helper()
	must(t, outbox.Do(t.Context(), p.out, p.DB, func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
		for _, m := range ms {
			u.Publish(m)
		}
		return nil
	}))
}

func (p *program) receiver(t testing.TB, routes ...sixfold.Route) *sixfoldtest.Receiver {
	t.Helper()
	r, err := sixfoldtest.NewReceiver("billing", nil, routes...)
	must(t, err)
	return r
}

// instances of a key, all generations.
func (p *program) instances(t testing.TB, key string) []saga.Instance {
	t.Helper()
	all, err := p.store.Records().List(t.Context(), saga.Filter{Saga: "renewal", Key: key, Full: true}, saga.Page{Limit: 100})
	must(t, err)
	return all
}

func (p *program) one(t testing.TB, key string) saga.Instance {
	t.Helper()
	all := p.instances(t, key)
	if len(all) == 0 {
		t.Fatalf("there is no instance of %s", key)
	}
	return all[len(all)-1]
}

func (p *program) journal(t testing.TB, id string) []saga.Entry {
	t.Helper()
	all, err := p.store.Records().History(t.Context(), id, 0, 10_000)
	must(t, err)
	return all
}

var errOnPurpose = errors.New("failed on purpose")
