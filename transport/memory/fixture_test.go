package memory_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// fixture is a broker and what the tests do with it.
type fixture struct {
	*memory.Transport
	t      *testing.T
	sender bus.Sender
}

func newFixture(t *testing.T, opts *memory.Options) *fixture {
	t.Helper()
	f := &fixture{Transport: memory.New(opts), t: t}
	t.Cleanup(func() { f.Close(context.Background()) })
	f.open()
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	s, err := f.Open(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	f.sender = s
}

func (f *fixture) subscribe(s bus.Subscription) bus.Source {
	f.t.Helper()
	src, err := f.Subscribe(f.t.Context(), s)
	if err != nil {
		f.t.Fatal(err)
	}
	return src
}

// send sends "key/body" messages and answers their errors.
func (f *fixture) send(topic string, messages ...string) []error {
	f.t.Helper()
	batch := make([]bus.Outgoing, len(messages))
	for i, m := range messages {
		key, body, _ := strings.Cut(m, "/")
		batch[i] = bus.Outgoing{Topic: topic, Envelope: &sixfold.Envelope{ID: m, Key: key, Body: []byte(body)}}
	}
	return f.sender.Send(f.t.Context(), batch).Wait(f.t.Context())
}

func (f *fixture) mustSend(topic string, messages ...string) {
	f.t.Helper()
	if err := errors.Join(f.send(topic, messages...)...); err != nil {
		f.t.Fatal(err)
	}
}

// receive takes exactly n deliveries.
func (f *fixture) receive(src bus.Source, n int) []*bus.Delivery {
	f.t.Helper()
	var all []*bus.Delivery
	for len(all) < n {
		ds, err := src.Receive(f.t.Context(), n-len(all))
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, ds...)
	}
	return all
}

// nothing fails when src has a delivery. In a bubble the time that it waits costs nothing.
func (f *fixture) nothing(src bus.Source) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), time.Millisecond)
	defer cancel()
	ds, err := src.Receive(ctx, 100)
	if !errors.Is(err, context.DeadlineExceeded) {
		f.t.Fatalf("got %v, %v; want nothing", ids(ds), err)
	}
}

func (f *fixture) settle(src bus.Source, ds ...*bus.Delivery) {
	f.t.Helper()
	if err := errors.Join(src.Settle(f.t.Context(), settlements(false, ds...))...); err != nil {
		f.t.Fatal(err)
	}
}

func settlements(release bool, ds ...*bus.Delivery) []bus.Settlement {
	out := make([]bus.Settlement, len(ds))
	for i, d := range ds {
		out[i] = bus.Settlement{Delivery: d, Release: release}
	}
	return out
}

func ids(ds []*bus.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = d.ID
	}
	return out
}

func want(t *testing.T, ds []*bus.Delivery, wanted ...string) {
	t.Helper()
	if got := ids(ds); !slices.Equal(got, wanted) {
		t.Fatalf("got %v, want %v", got, wanted)
	}
}

var ordersOrdered = bus.Subscription{Topics: []string{"orders"}, Group: "shipping", Ordered: true}
var orders = bus.Subscription{Topics: []string{"orders"}, Group: "shipping"}
