// Package natstest tests package transport/nats on real servers.
package natstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

func TestMain(m *testing.M) { servers.Main(m) }

// fixture is a server, and what the tests do with it.
type fixture struct {
	testing.TB
	url    string
	server *servers.NATSServer
	topics atomic.Int64
}

// newFixture starts an embedded server for one test.
func newFixture(t testing.TB, o *servers.NATSOptions) *fixture {
	t.Helper()
	s, err := servers.StartNATS(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &fixture{TB: t, url: s.URL(), server: s}
}

// fast are options whose leases and waits are short.
func fast(o nats.Options) *nats.Options {
	o.AckWait, o.Lease, o.Lanes = 2*time.Second, time.Second, 16
	return &o
}

// connect makes a transport at url.
func (f *fixture) connect(tb testing.TB, url string, o *nats.Options) *nats.Transport {
	tb.Helper()
	t, err := nats.New(url, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := t.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return t
}

// topic makes the name of one that no other test uses.
func (f *fixture) topic() string { return fmt.Sprintf("topic.%d", f.topics.Add(1)) }

// raw is a plain connection, without anything of Sixfold's.
func (f *fixture) raw(tb testing.TB) (*natsgo.Conn, jetstream.JetStream) {
	tb.Helper()
	nc, err := natsgo.Connect(f.server.URL())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		tb.Fatal(err)
	}
	return nc, js
}

func open(tb testing.TB, t bus.Transport) bus.Sender {
	tb.Helper()
	s, err := t.Open(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func subscribe(tb testing.TB, t bus.Transport, sub bus.Subscription) bus.Source {
	tb.Helper()
	s, err := t.Subscribe(tb.Context(), sub)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func group(topic string, ordered bool) bus.Subscription {
	return bus.Subscription{Topics: []string{topic}, Group: "shipping", Ordered: ordered}
}

// messages makes one for each "key/body".
func messages(topic string, texts ...string) []bus.Outgoing {
	out := make([]bus.Outgoing, len(texts))
	for i, text := range texts {
		key, _, _ := strings.Cut(text, "/")
		out[i] = bus.Outgoing{Topic: topic, Envelope: &sixfold.Envelope{ID: sixfold.NewID(), Source: "natstest", Type: "test", Key: key, Time: time.Now().UTC(),
			ContentType: "text/plain", Body: []byte(text)}}
	}
	return out
}

func send(tb testing.TB, s bus.Sender, batch ...bus.Outgoing) []error {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	return s.Send(ctx, batch).Wait(ctx)
}

func mustSend(tb testing.TB, s bus.Sender, batch ...bus.Outgoing) {
	tb.Helper()
	if err := errors.Join(send(tb, s, batch...)...); err != nil {
		tb.Fatal(err)
	}
}

// receive takes at least n deliveries.
func receive(tb testing.TB, src bus.Source, n int) []*bus.Delivery {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 20*time.Second)
	defer cancel()
	var all []*bus.Delivery
	for len(all) < n {
		ds, err := src.Receive(ctx, 1000)
		if err != nil {
			tb.Fatalf("%d of %d came: %v: %v", len(all), n, bodies(all), err)
		}
		all = append(all, ds...)
	}
	return all
}

func settle(tb testing.TB, src bus.Source, ds ...*bus.Delivery) {
	tb.Helper()
	if err := errors.Join(trySettle(tb, src, false, ds...)...); err != nil {
		tb.Fatal(err)
	}
}

func trySettle(tb testing.TB, src bus.Source, release bool, ds ...*bus.Delivery) []error {
	tb.Helper()
	ss := make([]bus.Settlement, len(ds))
	for i, d := range ds {
		ss[i] = bus.Settlement{Delivery: d, Release: release}
	}
	return src.Settle(tb.Context(), ss)
}

func bodies(ds []*bus.Delivery) []string {
	out := make([]string, len(ds))
	for i, d := range ds {
		out[i] = string(d.Body)
	}
	return out
}
