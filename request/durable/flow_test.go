package durable_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/request"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// charge asks for money.
type charge struct {
	sixfold.Returns[charged] `json:"-"`
	Order, Item              string
}

type charged = request.Result[bool, string]

func (charge) MessageName() string { return "warehouse.charge" }

type fulfilment struct{ Order, Item, Why string }

// fulfil is a flow whose steps ask.
func (s *shop) fulfil(t *testing.T) *flow.Flow[*memory.Tx, fulfilment] {
	t.Helper()
	f, err := flow.New("fulfil", s.box, &flow.Options{Logger: quiet()},
		flow.Begin(placed.MessageKey, func(st *fulfilment, m placed) error {
			*st = fulfilment{Order: m.Order, Item: m.Item}
			return nil
		}),
		flow.Step("reserve",
			durable.FlowDo(s.requests, func(st *fulfilment) reserve { return reserve{Order: st.Order, Item: st.Item} }, func(st *fulfilment, r reserved) error {
				if why, no := r.Rejection(); no {
					st.Why = why
					return flow.ErrRefused
				}
				return nil
			}),
			durable.FlowUndo(s.requests, func(st *fulfilment) release { return release{Order: st.Order} }, func(_ *fulfilment, done bool) error {
				if !done {
					return flow.ErrRefused
				}
				return nil
			})).Within(10*time.Second).Attempts(sixfold.Retry{MaxAttempts: 2}),
		flow.Step("charge",
			durable.FlowDo(s.requests, func(st *fulfilment) charge { return charge{Order: st.Order, Item: st.Item} }, func(st *fulfilment, r charged) error {
				if why, no := r.Rejection(); no {
					st.Why = why
					return flow.ErrRefused
				}
				return nil
			})).NoUndo("a refund is made by hand"))
	must(t, err)
	return f
}

// Steps ask: answers, rejections, faults and silence are their outcomes, and what may have run is taken back by asking.
// guarantees: S2, S3, S4
func TestFlowAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop(t)
		f := s.fulfil(t)
		fault := func(order, item, what string, c request.Category) error {
			if times := s.note(order + " " + what); item == "odd" || item == "flaky" && times == 1 {
				return request.Fail(c, errors.New("on purpose"))
			}
			return nil
		}
		answers := []sixfold.Route{
			durable.Answer(s.requests, func(_ context.Context, _ *memory.Tx, m reserve) (res reserved, err error) {
				switch m.Item {
				case "sofa":
					return res.Reject("no sofa"), nil
				case "slow":
					return res, errors.New("not now")
				}
				category := request.Unavailable
				if m.Item == "odd" {
					category = request.Unauthorised
				}
				return res.Accept(7), fault(m.Order, m.Item, "reserve", category)
			}),
			durable.Answer(s.requests, func(_ context.Context, _ *memory.Tx, m charge) (res charged, err error) {
				s.note(m.Order + " charge")
				if m.Item == "yacht" {
					return res.Reject("too dear"), nil
				}
				return res.Accept(true), nil
			}),
			durable.Answer(s.requests, func(_ context.Context, _ *memory.Tx, m release) (bool, error) {
				return s.note(m.Order+" release") > 1, nil // not at the first time
			}),
		}
		s.Start(t, s.relay, s.clock, s.consumer(t, "shop", []string{"shop", "shop.replies"}, f.Routes()...), s.consumer(t, "warehouse", []string{"warehouse"}, answers...))
		for _, item := range []string{"lamp", "sofa", "yacht", "flaky", "odd", "slow"} {
			s.publish(t, placed{"o-" + item, item})
		}
		sixfoldtest.Advance(10 * time.Minute)
		for item, want := range map[string]string{
			"lamp":  "completed: reserve, charge",
			"sofa":  "compensated: ",
			"yacht": "compensated: reserve, charge, release, release",
			"flaky": "completed: reserve, reserve, charge",
			"odd":   "compensated: reserve",
			"slow":  "compensated: release, release",
		} {
			in := s.instance(t, "fulfil", "o-"+item)
			var did []string
			for _, e := range s.noted() {
				if what, ours := strings.CutPrefix(e, in.Key+" "); ours {
					did = append(did, what)
				}
			}
			if got := in.Status.String() + ": " + strings.Join(did, ", "); got != want || len(in.Timers) != 0 {
				t.Errorf("%s: %s, and it waits for %v; want %s (%s)", item, got, in.Timers, want, in.State)
			}
		}
		if in := s.instance(t, "fulfil", "o-yacht"); in.Status == saga.Compensated && !strings.Contains(string(in.State), "too dear") {
			t.Errorf("what the rejection said is not in the state %s", in.State)
		}
	})
}

// What is wrong with a step that asks is said when the flow is made.
func TestFlowAsksInVain(t *testing.T) {
	s := newShop(t)
	mute, err := durable.New(s.out, s.in, nil)
	must(t, err)
	var none *durable.Service[*memory.Tx]
	_, err = flow.New("fulfil", s.box, nil, flow.Begin(placed.MessageKey, func(*fulfilment, placed) error { return nil }),
		flow.Step("a", durable.FlowDo(mute, func(*fulfilment) release { return release{} }, func(*fulfilment, bool) error { return nil })).NoUndo("-"),
		flow.Step("b", durable.FlowDo(s.requests, func(*fulfilment) release { return release{} }, nil)).NoUndo("-"),
		flow.Step("c", durable.FlowDo(none, func(*fulfilment) release { return release{} }, func(*fulfilment, bool) error { return nil })).NoUndo("-"))
	for _, want := range []string{`"a": Do: durable: `, "set Options.ReplyTo", `"b": Do: durable: `, "the function for its answer is nil", "the service is nil"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
}
