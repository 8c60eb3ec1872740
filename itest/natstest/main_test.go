// Package natstest tests package transport/nats on real servers.
package natstest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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

// calm are options of one that nobody takes over from: with the leases that are the default a busy machine loses none.
func calm(o nats.Options) *nats.Options {
	o.Lanes = 16
	return &o
}

// patient are options of the client's: by default it gives up connecting after 2 s, for which a busy machine may stand still.
func patient(more ...natsgo.Option) []natsgo.Option {
	return append([]natsgo.Option{natsgo.Timeout(time.Minute)}, more...)
}

// connect makes a transport at url.
func (f *fixture) connect(tb testing.TB, url string, o *nats.Options) *nats.Transport {
	tb.Helper()
	var with nats.Options
	if o != nil {
		with = *o
	}
	with.Nats = patient(with.Nats...)
	t, err := nats.New(url, &with)
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
	nc, err := natsgo.Connect(f.server.URL(), patient()...)
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

func group(topic string, ordered bool) bus.Subscription {
	return bus.Subscription{Topics: []string{topic}, Group: "shipping", Ordered: ordered}
}
