package durable

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/request/durable"
	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/saga/flow"
)

// placed begins a saga, or a flow, that asks the warehouse.
type (
	placed  struct{ Order, Item string }
	ordered struct{ Order, Item string }
	shipped struct{ Item string }
)

func (placed) MessageName() string   { return "shop.placed" }
func (m placed) MessageKey() string  { return m.Order }
func (ordered) MessageName() string  { return "shop.ordered" }
func (m ordered) MessageKey() string { return m.Order }
func (shipped) MessageName() string  { return "warehouse.shipped" }
func (m shipped) MessageKey() string { return m.Item }
func (m reserve) item() string       { return m.Item }

// A step of a saga asks, and one of a flow; who is asked is a saga that answers in a later step, to where its request came from. All of it
// once, and the deadlines are called off. guarantees: S1, S2, I7, Q4
func TestSagasAskAndAnswer(t *testing.T) {
	worlds(t, func(t *testing.T, w *world) {
		var err error
		w.ob, err = outbox.New(w.st.Outbox(), &outbox.Options{Source: "shop"}, outbox.To("warehouse", reserve{}, shipped{}), outbox.To("shop.replies", placed{}), outbox.To("order.replies", ordered{}, flow.Timer("order")))
		must(t, err)
		w.service, err = durable.New(w.ob, w.box, &durable.Options{ReplyTo: "shop.replies", Logger: quiet()})
		must(t, err)
		orders, err := durable.New(w.ob, w.box, &durable.Options{ReplyTo: "order.replies", Logger: quiet()})
		must(t, err)
		box, err := saga.NewBox(w.box, w.ob, w.st.Sagas(), &saga.Options{Logger: quiet()})
		must(t, err)

		type purchase struct{ Heard int }
		asks, err := saga.Define("purchase", box,
			saga.StartedBy(placed.MessageKey, func(_ context.Context, _ *sql.Tx, _ *purchase, m placed, fx *saga.Effects) error {
				w.service.AskFrom(fx, reserve{Item: m.Item}, time.Hour)
				return nil
			}),
			durable.SagaOn(w.service, func(_ context.Context, _ *sql.Tx, st *purchase, o outcome, fx *saga.Effects) error {
				v, err := o.Value()
				if place, ok := v.Value(); err != nil || !ok || place != 7 {
					return sixfold.Permanent(fmt.Errorf("the place is %d, %v", place, err))
				}
				st.Heard++
				fx.Complete()
				return nil
			}))
		must(t, err)

		type order struct{ Item string }
		flows, err := flow.New("order", box, &flow.Options{Logger: quiet()},
			flow.Begin(ordered.MessageKey, func(st *order, m ordered) error { st.Item = m.Item; return nil }),
			flow.Step("reserve", durable.FlowDo(orders, func(st *order) reserve { return reserve{Item: st.Item} }, func(_ *order, r reserved) error {
				if _, no := r.Rejection(); no {
					return flow.ErrRefused
				}
				return nil
			})).NoUndo("the warehouse puts it back").Within(time.Hour))
		must(t, err)

		type reservation struct{ Asked durable.Asked[reserve] }
		answers, err := saga.Define("reservation", box,
			saga.StartedBy(reserve.item, func(ctx context.Context, tx *sql.Tx, st *reservation, m reserve, fx *saga.Effects) (err error) {
				if _, err := tx.ExecContext(ctx, "INSERT INTO effect (item) VALUES ('"+m.Item+"')"); err != nil {
					return err
				}
				if st.Asked, err = durable.AskedIn(ctx, w.service, m); err != nil {
					return err
				}
				if m.Item == "sofa" {
					var no reserved
					durable.ReplyFrom(fx, st.Asked, no.Reject("no sofa"))
					fx.Complete()
				}
				return nil
			}),
			saga.On(shipped.MessageKey, func(_ context.Context, _ *sql.Tx, st *reservation, _ shipped, fx *saga.Effects) error {
				var yes reserved
				durable.ReplyFrom(fx, st.Asked, yes.Accept(7))
				fx.Complete()
				return nil
			}))
		must(t, err)

		w.relay()
		w.run(w.consumer("warehouse", "warehouse", answers.Routes()...), w.consumer("shop.replies", "shop", asks.Routes()...), w.consumer("order.replies", "order", flows.Routes()...))
		w.publish(placed{"o-1", "lamp"}, ordered{"o-2", "desk"}, ordered{"o-3", "sofa"})
		w.until("all are asked", func() bool { return w.count("SELECT count(*) FROM effect") == 3 })
		w.publish(shipped{"lamp"}, shipped{"desk"})
		want := map[string]saga.Status{"o-1": saga.Completed, "o-2": saga.Completed, "o-3": saga.Compensated}
		w.until("all have ended", func() bool { return len(w.live()) == 0 })
		all, err := w.st.Sagas().Records().List(t.Context(), saga.Filter{Full: true}, saga.Page{Limit: 100})
		must(t, err)
		if len(all) != 6 {
			t.Errorf("%d instances", len(all))
		}
		for _, in := range all {
			if status, ours := want[in.Key]; ours && in.Status != status || in.Version != 2-int64(boolInt(in.Key == "sofa")) || len(in.Timers) != 0 {
				t.Errorf("%s %s is %v of version %d and waits for %v", in.Saga, in.Key, in.Status, in.Version, in.Timers)
			}
		}
		if n := w.waiting(); n != 0 {
			t.Errorf("%d deadlines still wait", n)
		}
	})
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) publish(ms ...sixfold.Message) {
	w.Helper()
	must(w.T, outbox.Do(w.Context(), w.ob, w.db, func(_ context.Context, _ *sql.Tx, u *outbox.Unit) error {
		for _, m := range ms {
			u.Publish(m)
		}
		return nil
	}))
}

// live are the instances that have not ended.
func (w *world) live() []saga.Instance {
	w.Helper()
	all, err := w.st.Sagas().Records().List(w.Context(), saga.Filter{Live: true}, saga.Page{Limit: 100})
	must(w.T, err)
	return all
}
