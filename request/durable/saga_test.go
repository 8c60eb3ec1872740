package durable_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/inbox"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/schedule"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// A shop asks a warehouse, which is a saga too where it answers later.

type (
	placed struct{ Order, Item string }
	packed struct{ Order string }

	reserve struct {
		sixfold.Returns[reserved] `json:"-"`
		Order, Item               string
	}
	release struct {
		sixfold.Returns[bool] `json:"-"`
		Order                 string
	}
)

// reserved is a place on the shelf, or why there is none.
type reserved = request.Result[int, string]

func (placed) MessageName() string   { return "shop.placed" }
func (m placed) MessageKey() string  { return m.Order }
func (packed) MessageName() string   { return "warehouse.packed" }
func (m packed) MessageKey() string  { return m.Order }
func (reserve) MessageName() string  { return "warehouse.reserve" }
func (m reserve) MessageKey() string { return m.Item } // not the instance's
func (m reserve) order() string      { return m.Order }
func (release) MessageName() string  { return "warehouse.release" }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shop is what a program needs.
type shop struct {
	*sixfoldtest.Kit
	out      *outbox.Outbox
	in       *inbox.Box[*memory.Tx]
	box      *saga.Box[*memory.Tx]
	requests *durable.Service[*memory.Tx]
	relay    *outbox.Relay
	clock    *schedule.Scheduler

	mu      sync.Mutex
	effects []string // what handlers did, which run side by side
}

// note keeps an effect, and answers how often it was kept by now.
func (s *shop) note(effect string) (times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.effects = append(s.effects, effect)
	for _, e := range s.effects {
		if e == effect {
			times++
		}
	}
	return times
}

// noted are the effects by now.
func (s *shop) noted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.effects)
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{Kit: sixfoldtest.New("shop", "warehouse", "shop.replies")}
	var err error
	s.out, err = outbox.New(s.Outbox, nil, outbox.To("shop", placed{}, flow.Timer("fulfil")), outbox.To("warehouse", reserve{}, release{}, charge{}, packed{}))
	must(t, err)
	s.in, err = inbox.New(s.DB, s.Inbox, &inbox.Options{Logger: quiet()})
	must(t, err)
	s.box, err = saga.NewBox(s.in, s.out, s.Store.Sagas(), &saga.Options{Logger: quiet()})
	must(t, err)
	s.clock, err = schedule.New(s.Store.Schedule(), s.out, &schedule.Options{Poll: time.Hour, Logger: quiet()})
	must(t, err)
	s.requests, err = durable.New(s.out, s.in, &durable.Options{ReplyTo: "shop.replies", Scheduler: s.clock, Logger: quiet()})
	must(t, err)
	s.relay, err = outbox.NewRelay(s.Outbox, s.Broker, &outbox.RelayOptions{Logger: quiet()})
	must(t, err)
	return s
}

func (s *shop) consumer(t *testing.T, group string, topics []string, routes ...sixfold.Route) *bus.Consumer {
	t.Helper()
	c, err := bus.NewConsumer(s.Broker, bus.Subscription{Topics: topics, Group: group}, &bus.Options{Logger: quiet(), Retry: sixfold.Retry{MaxAttempts: 3, AfterDead: sixfold.GoOn, Backoff: func(int) time.Duration { return 2 * time.Second }}}, routes...)
	must(t, err)
	return c
}

func (s *shop) publish(t *testing.T, m sixfold.Message, opts ...outbox.Option) {
	t.Helper()
	must(t, outbox.Do(t.Context(), s.out, s.DB, func(_ context.Context, _ *memory.Tx, u *outbox.Unit) error {
		u.Publish(m, opts...)
		return nil
	}))
}

func (s *shop) instance(t *testing.T, name, key string) saga.Instance {
	t.Helper()
	all, err := s.Store.Sagas().Records().List(t.Context(), saga.Filter{Saga: name, Key: key, Full: true}, saga.Page{Limit: 10})
	must(t, err)
	if len(all) != 1 {
		t.Fatalf("%s %s has %d instances", name, key, len(all))
	}
	return all[0]
}

type order struct {
	Request string
	Place   int    `json:",omitempty"`
	Why     string `json:",omitempty"`
}

// further is a place behind which an order goes on.
const further = 9

// orders asks once for each order.
func (s *shop) orders(t *testing.T, within time.Duration) *saga.Saga[*memory.Tx, order] {
	t.Helper()
	g, err := saga.Define("order", s.box,
		saga.StartedBy(placed.MessageKey, func(_ context.Context, _ *memory.Tx, st *order, m placed, fx *saga.Effects) error {
			st.Request = s.requests.AskFrom(fx, reserve{Order: m.Order, Item: m.Item}, within)
			return nil
		}),
		durable.SagaOn(s.requests, func(_ context.Context, _ *memory.Tx, st *order, o durable.Outcome[reserve, reserved], fx *saga.Effects) error {
			if o.Request != st.Request {
				t.Errorf("the outcome of %s is told for %s", o.Request, st.Request)
			}
			v, err := o.Value()
			if err != nil {
				st.Why = err.Error()
				fx.Fail("no answer")
				return nil
			}
			if place, ok := v.Value(); ok {
				if st.Place = place; place != further {
					fx.Complete()
				}
				return nil
			}
			st.Why, _ = v.Rejection()
			fx.Fail("refused")
			return nil
		}))
	must(t, err)
	return g
}

// warehouse answers at once, in its way for each item.
func (s *shop) warehouse() sixfold.Route {
	return durable.Answer(s.requests, func(_ context.Context, _ *memory.Tx, m reserve) (res reserved, err error) {
		s.note(m.Order)
		switch m.Item {
		case "sofa":
			return res.Reject("no sofa"), nil
		case "secret":
			return res, request.Fail(request.Unauthorised, errors.New("no"))
		case "slow":
			return res, errors.New("not now")
		}
		return res.Accept(7), nil
	})
}

// A step asks, and another is told the answer, the rejection, the fault or that the deadline passed, once. guarantees: S1, S4, Q1
func TestSagaAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		g := s.orders(t, 5*time.Minute)
		s.Start(t, s.relay, s.clock, s.consumer(t, "shop", []string{"shop", "shop.replies"}, g.Routes()...), s.consumer(t, "warehouse", []string{"warehouse"}, s.warehouse()))
		for _, item := range []string{"lamp", "sofa", "secret", "slow"} {
			s.publish(t, placed{"o-" + item, item})
		}
		sixfoldtest.Advance(time.Minute)
		if in := s.instance(t, "order", "o-slow"); in.Status != saga.Running || len(in.Timers) != 1 {
			t.Errorf("an order that nobody answers is %v and waits for %v", in.Status, in.Timers)
		}
		sixfoldtest.Advance(10 * time.Minute)
		for item, want := range map[string]string{"lamp": `completed ,"Place":7`, "sofa": `failed ,"Why":"no sofa"`, "secret": `failed ,"Why":"request: `, "slow": `failed ,"Why":"durable: the deadline passed`} {
			in := s.instance(t, "order", "o-"+item)
			status, state, _ := strings.Cut(want, " ")
			if in.Status.String() != status || !strings.Contains(string(in.State), state) || len(in.Timers) != 0 || in.Version != 2 {
				t.Errorf("%s: %v of version %d with state %s waits for %v; want %s", item, in.Status, in.Version, in.State, in.Timers, want)
			}
		}
		if waiting, err := s.clock.Waiting(t.Context(), schedule.DelayedPage{}); err != nil || len(waiting) != 0 {
			t.Errorf("%d deadlines still wait, %v", len(waiting), err)
		}
	})
}

// answer is a reply as another program writes it.
type answer struct {
	Value int `json:"value"`
}

func (answer) MessageName() string { return "warehouse.reserve.reply" }

// Replies to what an instance has not asked, or does not wait for any more, are dropped and counted. guarantees: S4, Q2
func TestSagaAskedOtherwise(t *testing.T) {
	for _, within := range []time.Duration{0, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(t)
			g := s.orders(t, within)
			s.Start(t, s.relay, s.clock, s.consumer(t, "shop", []string{"shop", "shop.replies"}, g.Routes()...))
			s.publish(t, placed{"o-1", "lamp"})
			sixfoldtest.Advance(time.Minute)
			asked := s.instance(t, "order", "o-1")
			reply := func(cause string) {
				s.publish(t, answer{further}, outbox.Topic("shop.replies"), outbox.Key("o-1"), outbox.Causation(cause))
			}
			reply(sixfold.NewID())
			reply("")
			sixfoldtest.Advance(time.Minute)
			if in := s.instance(t, "order", "o-1"); in.Version != 1 || g.Stats().Dropped != 2 {
				t.Errorf("it is of version %d after two foreign replies: %+v", in.Version, g.Stats())
			}
			var st struct{ Request string }
			must(t, json.Unmarshal(asked.State, &st))
			reply(st.Request)
			reply(st.Request)
			sixfoldtest.Advance(10 * time.Minute)
			if in := s.instance(t, "order", "o-1"); in.Version != 2 || in.Status != saga.Running || len(in.Timers) != 0 || g.Stats().Dropped != 3 {
				t.Errorf("it is %v of version %d and waits for %v: %+v", in.Status, in.Version, in.Timers, g.Stats())
			}
			if waiting, err := s.clock.Waiting(t.Context(), schedule.DelayedPage{}); err != nil || len(waiting) != 0 {
				t.Errorf("%d deadlines still wait, %v", len(waiting), err)
			}
		})
	}
}

// A saga answers a request later, to where its sender wants the reply, once. guarantees: S1, Q4
func TestSagaAnswersLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		type packing struct{ Asked durable.Asked[reserve] }
		w, err := saga.Define("packing", s.box,
			saga.StartedBy(reserve.order, func(ctx context.Context, _ *memory.Tx, st *packing, m reserve, fx *saga.Effects) (err error) {
				st.Asked, err = durable.AskedIn(ctx, s.requests, m)
				if m.Item == "gone" {
					durable.FaultFrom(fx, st.Asked, request.Unavailable)
					fx.Fail("gone")
				}
				return err
			}),
			saga.On(packed.MessageKey, func(_ context.Context, _ *memory.Tx, st *packing, m packed, fx *saga.Effects) error {
				var res reserved
				durable.ReplyFrom(fx, st.Asked, res.Accept(8))
				fx.Complete()
				return nil
			}))
		must(t, err)
		g := s.orders(t, 0)
		s.Start(t, s.relay, s.clock, s.consumer(t, "shop", []string{"shop", "shop.replies"}, g.Routes()...), s.consumer(t, "warehouse", []string{"warehouse"}, w.Routes()...))
		s.publish(t, placed{"o-1", "lamp"})
		s.publish(t, placed{"o-2", "gone"})
		s.publish(t, reserve{Order: "o-3"}, outbox.ReplyTo("orders"))  // no topic for replies
		s.publish(t, reserve{Order: "o-4"}, outbox.Topic("warehouse")) // wants no reply
		sixfoldtest.Advance(time.Minute)
		s.publish(t, packed{"o-1"})
		s.publish(t, packed{"o-4"})
		sixfoldtest.Advance(time.Minute)
		if in := s.instance(t, "order", "o-1"); in.Status != saga.Completed || !strings.Contains(string(in.State), `"Place":8`) {
			t.Errorf("%v with state %s", in.Status, in.State)
		}
		if in := s.instance(t, "order", "o-2"); in.Status != saga.Failed || !strings.Contains(string(in.State), "unavailable") {
			t.Errorf("%v with state %s", in.Status, in.State)
		}
		if in := s.instance(t, "packing", "o-4"); in.Status != saga.Completed {
			t.Errorf("a request that wants no reply is %v", in.Status)
		}
		if dead := sixfoldtest.Dead[reserve](t, s.Inbox); len(dead) != 1 || dead[0].Order != "o-3" {
			t.Errorf("%d dead letters: %+v", len(dead), dead)
		}
	})
}
