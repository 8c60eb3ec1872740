package saga_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sixfoldtest"
)

func TestDesk(t *testing.T) { // guarantees: S2, S4
	p := newProgram(t, nil)
	g := p.define(t)
	r := p.receiver(t, g.Routes()...)
	must(t, r.Deliver(t.Context(), Subscribed{"s-1"}, Subscribed{"s-2"}))
	d, err := saga.NewDesk(p.DB, p.store)
	must(t, err)
	if all, err := d.List(t.Context(), saga.Filter{Saga: "renewal"}, saga.Page{}); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	if err := d.Cancel(t.Context(), "renewal", "s-1", "", ""); err == nil {
		t.Error("somebody who does not say who he is cancelled an instance")
	}
	must(t, d.Cancel(t.Context(), "renewal", "s-1", "ann", "a mistake"))
	in, err := d.Show(t.Context(), "renewal", "s-1")
	if err != nil || in.Status != saga.Cancelled || in.Reason != "a mistake" || len(in.Timers) != 0 {
		t.Errorf("%+v, %v", in, err)
	}
	if n := len(sixfoldtest.Scheduled[Due](t, p.Store.Schedule())); n != 1 {
		t.Errorf("of two timers %d wait, and one instance was cancelled", n)
	}
	es, err := d.History(t.Context(), in.ID, 0, 0)
	if err != nil || len(es) != 2 || es[1].Kind != saga.Operated || es[1].Detail.Who != "ann" || es[1].Detail.Reason != "a mistake" || es[1].Detail.To != "cancelled" {
		t.Errorf("%+v, %v", es, err)
	}
	if err := d.Cancel(t.Context(), "renewal", "s-1", "ann", ""); !errors.Is(err, saga.ErrEnded) {
		t.Error(err)
	}
	if err := d.Cancel(t.Context(), "renewal", "nobody", "ann", ""); !errors.Is(err, saga.ErrNoInstance) {
		t.Error(err)
	}
	if _, err := d.Show(t.Context(), "renewal", "nobody"); !errors.Is(err, saga.ErrNoInstance) {
		t.Error(err)
	}
	if _, err := d.List(t.Context(), saga.Filter{}, saga.Page{Limit: -1}); err == nil {
		t.Error("a page of -1 was listed")
	}
	must(t, r.Deliver(t.Context(), Paid{"s-1"})) // which is late
	if s := g.Stats(); s.Ended != 1 {
		t.Errorf("%+v", s)
	}
	counts, err := d.Counts(t.Context(), "renewal")
	if err != nil || len(counts) != 2 || counts[0].Status != saga.Running || counts[1].Status != saga.Cancelled {
		t.Errorf("%+v, %v", counts, err)
	}
}

// What a person's function drops is not written, nor is it in the journal.
func TestByHandDrops(t *testing.T) {
	p := newProgram(t, nil)
	g := p.define(t)
	must(t, p.receiver(t, g.Routes()...).Deliver(t.Context(), Subscribed{"s-1"}))
	before := p.instances(t, "s-1")[0]
	must(t, g.ByHand(t.Context(), "s-1", "ann", "look", func(_ context.Context, s *subscription, fx *saga.Effects) error {
		s.Paid = 7
		fx.Send(Charge{"s-1"})
		fx.Drop()
		return nil
	}))
	after := p.instances(t, "s-1")[0]
	if after.Version != before.Version || string(after.State) != string(before.State) {
		t.Errorf("version %d became %d, with the state %s", before.Version, after.Version, after.State)
	}
	if es, err := p.store.Records().History(t.Context(), after.ID, 0, 10); err != nil || len(es) != 1 {
		t.Errorf("%+v, %v", es, err)
	}
}
