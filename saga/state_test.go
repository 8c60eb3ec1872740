package saga_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/saga"
	"github.com/sixfold-go/sixfold/sixfoldtest"
	"github.com/sixfold-go/sixfold/store/memory"
)

// renamed is subscription two versions later: Paid has another name, and Owes is gone.
type renamed struct {
	Charged  int `json:"charged"`
	Payments int `json:"payments"`
}

func (renamed) StateHistory() []saga.Former {
	return []saga.Former{
		{Version: 1, Upcast: func(state []byte) ([]byte, error) {
			return bytes.Replace(state, []byte(`"paid"`), []byte(`"payments"`), 1), nil
		}},
		{Version: 2},
	}
}

func defineRenamed(t *testing.T, p *program) *saga.Saga[*memory.Tx, renamed] {
	t.Helper()
	g, err := saga.Define("renewal", p.box,
		saga.StartedBy(bySubscription[Subscribed], func(context.Context, *memory.Tx, *renamed, Subscribed, *saga.Effects) error { return nil }),
		saga.On(bySubscription[Paid], func(_ context.Context, _ *memory.Tx, s *renamed, _ Paid, _ *saga.Effects) error {
			s.Payments++
			return nil
		}),
		saga.OnTimeout(func(context.Context, *memory.Tx, *renamed, Due, *saga.Effects) error { return nil }))
	must(t, err)
	return g
}

func TestStateIsUpcast(t *testing.T) { // guarantees: S6
	p := newProgram(t, nil)
	must(t, p.receiver(t, p.define(t).Routes()...).Deliver(t.Context(), Subscribed{"s-1"}, Paid{"s-1"}))
	must(t, p.receiver(t, defineRenamed(t, p).Routes()...).Deliver(t.Context(), Paid{"s-1"}))
	in := p.one(t, "s-1")
	if string(in.State) != `{"charged":1,"payments":2}` || in.Schema != 3 {
		t.Errorf("upcast to version %d: %s", in.Schema, in.State)
	}
	if es := p.journal(t, in.ID); es[len(es)-1].Detail.Upcast != 1 {
		t.Errorf("the journal does not tell of the upcast: %+v", es[len(es)-1].Detail)
	}
}

func TestUnknownVersionIsNotGuessed(t *testing.T) { // guarantees: S6
	p := newProgram(t, nil)
	must(t, p.receiver(t, defineRenamed(t, p).Routes()...).Deliver(t.Context(), Subscribed{"s-1"}))
	before := p.one(t, "s-1")
	old := p.define(t) // the program of before, as in a roll-out
	err := p.receiver(t, old.Routes()...).Deliver(t.Context(), Paid{"s-1"})
	if !errors.Is(err, saga.ErrSchema) || !strings.Contains(err.Error(), "version 3") || !strings.Contains(err.Error(), "StateHistory") {
		t.Errorf("a newer state: %v", err)
	}
	if after := p.one(t, "s-1"); after.Version != before.Version || !bytes.Equal(after.State, before.State) {
		t.Errorf("a state that cannot be read was changed: %+v", after)
	}
	counts, err := p.store.Records().Schemas(t.Context())
	if err != nil || len(counts) != 1 || counts[0] != (saga.SchemaCount{Saga: "renewal", Schema: 3, N: 1}) {
		t.Errorf("what a check before a roll-out is told: %+v, %v", counts, err)
	}
}

// gapped has a hole in its history.
type gapped struct{}

func (gapped) StateHistory() []saga.Former { return []saga.Former{{Version: 1}, {Version: 3}} }

func TestHistoryHasNoHoles(t *testing.T) {
	p := newProgram(t, nil)
	_, err := saga.Define("renewal", p.box, saga.StartedBy(bySubscription[Subscribed], func(context.Context, *memory.Tx, *gapped, Subscribed, *saga.Effects) error { return nil }))
	if err == nil || !strings.Contains(err.Error(), "count up by one") {
		t.Error(err)
	}
}

// A step that fails leaves a line in the journal, by the transaction that parks its message, and nothing else.
func TestJournal(t *testing.T) { // guarantees: S1
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, nil)
		g := p.define(t)
		p.start(t, g.Routes()...)
		p.publish(t, Subscribed{"s-1"})
		sixfoldtest.Advance(time.Second)
		failures := 0
		p.fail = func(string) error {
			if failures++; failures <= 3 {
				return errOnPurpose
			}
			return nil
		}
		p.publish(t, Paid{"s-1"})
		sixfoldtest.Advance(time.Minute)
		es := p.journal(t, p.one(t, "s-1").ID)
		var kinds []string
		for _, e := range es {
			kinds = append(kinds, e.Kind.String())
		}
		if strings.Join(kinds, ", ") != "step, failed step, failed step, failed step, step" {
			t.Fatalf("the journal has %v", kinds)
		}
		first, failed, last := es[0], es[2], es[4]
		if len(first.Detail.Effects) != 2 || first.Detail.Effects[0].Kind != "send" || first.Detail.Effects[1].After != month || first.Version != 1 {
			t.Errorf("the first entry is %+v", first)
		}
		if failed.Detail.Error != errOnPurpose.Error() || failed.Detail.Attempt != 2 || failed.Version != 1 || failed.Detail.Changes != nil || failed.Message != last.Message {
			t.Errorf("the second failure is %+v", failed)
		}
		c := last.Detail.Changes["paid"]
		if len(last.Detail.Changes) != 1 || string(c.Before) != "0" || string(c.After) != "1" || last.Detail.Attempt != 4 || last.Version != 2 {
			t.Errorf("the last entry is %+v", last)
		}
		if s := g.Stats(); s.FailedSteps != 3 || s.Steps != 2 {
			t.Errorf("%+v", s)
		}
	})
}

// What ended long ago is removed by the consumer, with its journal.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newProgram(t, nil)
		box, err := saga.NewBox(p.in, p.out, p.store, &saga.Options{Retention: time.Hour, Logger: quiet})
		must(t, err)
		p.box = box
		p.start(t, p.define(t).Routes()...)
		p.publish(t, Subscribed{"s-1"}, Subscribed{"s-2"}, Cancelled{"s-1"})
		sixfoldtest.Advance(time.Second)
		id := p.one(t, "s-1").ID
		p.publish(t, Paid{"s-2"})
		sixfoldtest.Advance(2*time.Minute + time.Hour)
		if all := p.instances(t, "s-1"); len(all) != 0 || len(p.journal(t, id)) != 0 {
			t.Errorf("after its retention there are %d instances and %d entries", len(all), len(p.journal(t, id)))
		}
		if all := p.instances(t, "s-2"); len(all) != 1 {
			t.Errorf("of the other one there are %d", len(all))
		}
	})
}
