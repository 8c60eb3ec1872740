package rabbittest

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// Checking says what is there, missing and different, and makes and changes nothing.
func TestTopologyIsCompared(t *testing.T) {
	f := newFixture(t)
	exchange, queue, gone := f.topic(), "q-"+f.topic(), "gone-"+f.topic()
	tr := f.connect(t, f.url, nil)
	topology := func(parts ...rabbitmq.Part) *rabbitmq.Topology {
		all, err := rabbitmq.NewTopology(parts...)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	if err := tr.DeclareTopology(t.Context(), topology(rabbitmq.Exchange{Name: exchange, Kind: "topic"}, rabbitmq.Queue{Name: queue, DeliveryLimit: 5})); err != nil {
		t.Fatal(err)
	}
	wanted := topology(rabbitmq.Exchange{Name: exchange, Kind: "direct"}, rabbitmq.Exchange{Name: gone}, rabbitmq.Queue{Name: queue, DeliveryLimit: 6},
		rabbitmq.Queue{Name: gone, Existing: true}, rabbitmq.Binding{From: exchange, To: queue, Key: "a"}, rabbitmq.Binding{From: exchange, To: gone})
	want := []bus.Part{
		{Name: "exchange " + exchange, State: bus.Differs, Text: "'type' should be 'direct' and is 'topic'"},
		{Name: "exchange " + gone, State: bus.Missing},
		{Name: "queue " + queue, State: bus.Differs, Text: "'x-delivery-limit' should be '6' and is '5'"},
		{Name: "queue " + gone, State: bus.Missing},
		{Name: "binding from " + exchange + " to " + queue, State: bus.Unknown, Text: "AMQP cannot look for bindings"},
		{Name: "binding from " + exchange + " to " + gone, State: bus.Missing},
	}
	for range 2 { // the first look made and changed nothing
		got, err := tr.CheckTopology(t.Context(), wanted)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	same, err := tr.CheckTopology(t.Context(), topology(rabbitmq.Exchange{Name: exchange, Kind: "topic"}, rabbitmq.Queue{Name: queue, Existing: true, DeliveryLimit: 9}))
	if err != nil || same[0].State != bus.There || same[1].State != bus.There {
		t.Errorf("%v, %v", same, err)
	}
}

// What a group needs is there before its first member comes, and messages wait for it.
func TestGroupsAreDeclared(t *testing.T) {
	f := newFixture(t)
	sub := group(f.topic(), true)
	tr := f.connect(t, f.url, nil)
	qs, err := tr.GroupQueues(sub)
	if err != nil || len(qs) != 1 || !qs[0].SingleActive || qs[0].Name != sub.Group+"@"+sub.Topics[0] {
		t.Fatalf("%+v, %v", qs, err)
	}
	if err := tr.DeclareGroups(t.Context(), sub); err != nil {
		t.Fatal(err)
	}
	hand.MustSend(t, hand.Open(t, tr), hand.Messages(sub.Topics[0], "k/1")...)
	src := hand.Subscribe(t, f.connect(t, f.url, nil), sub)
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
}
