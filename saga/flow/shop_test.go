package flow_test

import (
	"encoding/json"
	"log/slog"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// One command and one message for each kind of reply serve all steps of all flows here: that a reply finds its step is up to
// the causation.
type (
	Started struct{ Key string }
	Work    struct{ Key, Step string }
	Unwork  struct{ Key, Step string }
	Worked  struct{ Key string }
	Refusal struct{ Key string }
	Failure struct{ Key string }
	Gone    struct{ Key string }
	Stays   struct{ Key string }
)

func (Started) MessageName() string { return "shop.started" }
func (Work) MessageName() string    { return "shop.work" }
func (Unwork) MessageName() string  { return "shop.unwork" }
func (Worked) MessageName() string  { return "shop.worked" }
func (Refusal) MessageName() string { return "shop.refusal" }
func (Failure) MessageName() string { return "shop.failure" }
func (Gone) MessageName() string    { return "shop.gone" }
func (Stays) MessageName() string   { return "shop.stays" }

func (m Started) ID() string { return m.Key }
func (m Worked) ID() string  { return m.Key }
func (m Refusal) ID() string { return m.Key }
func (m Failure) ID() string { return m.Key }
func (m Gone) ID() string    { return m.Key }
func (m Stays) ID() string   { return m.Key }

// order is the state of the flows here: what they heard.
type order struct {
	Key   string   `json:"key"`
	Gift  bool     `json:"gift,omitempty"`
	Heard []string `json:"heard,omitempty"`
}

func begin(s *order, m Started) error { s.Key = m.Key; return nil }

func hear[M sixfold.Message](s *order, m M) error {
	s.Heard = append(s.Heard, m.MessageName())
	return nil
}

// shop is a database with a box, whose messages the test carries by hand.
type shop struct {
	*sixfoldtest.Kit
	t      testing.TB
	box    *saga.Box[*memory.Tx]
	routes map[string]sixfold.Handler
	seen   int // of what was published
	timers map[string]bool
}

var quiet = slog.New(slog.DiscardHandler)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newShop(t testing.TB) *shop {
	t.Helper()
	p := &shop{Kit: sixfoldtest.New(), t: t, timers: map[string]bool{}}
	out, err := outbox.New(p.Outbox, nil, outbox.To("work", Work{}, Unwork{}), outbox.ToConsumer("orders", flow.Timer("f")))
	must(t, err)
	in, err := inbox.New(p.DB, p.Inbox, &inbox.Options{Logger: quiet})
	must(t, err)
	p.box, err = saga.NewBox(in, out, p.Store.Sagas(), &saga.Options{Logger: quiet})
	must(t, err)
	return p
}

// take has a flow's routes handle what the test delivers.
func (p *shop) take(routes []sixfold.Route) {
	p.routes = map[string]sixfold.Handler{}
	for _, r := range routes {
		p.routes[r.Name] = r.Handler()
	}
}

// deliver hands an envelope to its route, as a consumer would.
func (p *shop) deliver(env *sixfold.Envelope) error {
	p.t.Helper()
	h := p.routes[env.Type]
	if h == nil {
		p.t.Fatalf("no route takes %s", env.Type)
	}
	ctx := sixfold.WithInfo(p.t.Context(), &sixfold.Info{Envelope: env, Consumer: "orders", Attempt: 1})
	return h(ctx, env)
}

// start publishes the message that begins an instance.
func (p *shop) start(key string) {
	p.t.Helper()
	env, err := sixfold.NewEnvelope(p.t.Context(), "shop", nil, Started{key})
	must(p.t, err)
	must(p.t, p.deliver(env))
}

// answer makes the reply to a command.
func (p *shop) answer(to *sixfold.Envelope, m sixfold.Message) *sixfold.Envelope {
	p.t.Helper()
	ctx := sixfold.WithInfo(p.t.Context(), &sixfold.Info{Envelope: to, Consumer: "participant", Attempt: 1})
	env, err := sixfold.NewEnvelope(ctx, "participant", nil, m)
	must(p.t, err)
	return env
}

// sent answers the commands that were published since it was asked last, and the timers that were set.
func (p *shop) sent() (commands, timers []*sixfold.Envelope) {
	p.t.Helper()
	all, err := p.Outbox.All(p.t.Context())
	must(p.t, err)
	for _, pub := range all[p.seen:] {
		if pub.Envelope.Type == (Work{}).MessageName() || pub.Envelope.Type == (Unwork{}).MessageName() {
			commands = append(commands, pub.Envelope)
		}
	}
	p.seen = len(all)
	list, err := p.Store.Schedule().Delayed().List(p.t.Context(), schedule.DelayedPage{Limit: 10_000})
	must(p.t, err)
	for i := range list {
		w := &list[i]
		if p.timers[w.ID] {
			continue
		}
		p.timers[w.ID] = true
		env := &sixfold.Envelope{ID: w.ID, Key: w.Key, Body: w.Body}
		_, err := outbox.DecodeAttrs(w.Attrs, env)
		must(p.t, err)
		timers = append(timers, env)
	}
	return commands, timers
}

// step is which step a command is for.
func stepOf(t testing.TB, env *sixfold.Envelope) string {
	t.Helper()
	var m Work
	must(t, json.Unmarshal(env.Body, &m))
	return m.Step
}

// instance of a key, with its state as JSON.
func (p *shop) instance(key string) saga.Instance {
	p.t.Helper()
	all, err := p.Store.Sagas().Records().List(p.t.Context(), saga.Filter{Key: key, Full: true}, saga.Page{Limit: 10})
	must(p.t, err)
	if len(all) != 1 {
		p.t.Fatalf("there are %d instances of %s", len(all), key)
	}
	return all[0]
}

// work makes a step of the usual kind.
func work(name string) flow.Task[order] {
	return flow.Step(name,
		flow.Do(func(s *order) Work { return Work{s.Key, name} }),
		flow.Then(Worked.ID, hear[Worked]),
		flow.Refused(Refusal.ID, hear[Refusal]),
		flow.Failed(Failure.ID, hear[Failure]),
		flow.Undo(func(s *order) Unwork { return Unwork{s.Key, name} }, flow.Undone(Gone.ID), flow.NotUndone(Stays.ID)))
}
