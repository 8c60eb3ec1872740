// Package rabbittest tests package transport/rabbitmq on real servers.
package rabbittest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

func TestMain(m *testing.M) { servers.Main(m) }

// fixture is the node that the tests share, and what they do with it.
type fixture struct {
	testing.TB
	url    string
	server *servers.RabbitMQServer
	prefix string
	topics atomic.Int64
}

// newFixture answers the shared node. Names are the test's own.
func newFixture(t testing.TB) *fixture {
	t.Helper()
	s := servers.RabbitMQ(t)
	return &fixture{TB: t, url: s.URL(), server: s, prefix: strings.ToLower(sixfold.NewID()[24:])}
}

// connect makes a transport at url.
func (f *fixture) connect(tb testing.TB, url string, o *rabbitmq.Options) *rabbitmq.Transport {
	tb.Helper()
	t, err := rabbitmq.New(url, o)
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
func (f *fixture) topic() string { return fmt.Sprintf("topic.%s.%d", f.prefix, f.topics.Add(1)) }

// place declares a topic with a queue that keeps nothing, so that there is a place for its messages without a subscriber.
func (f *fixture) place(tb testing.TB, t *rabbitmq.Transport) string {
	tb.Helper()
	topic := f.topic()
	if err := t.Declare(tb.Context(), topic); err != nil {
		tb.Fatal(err)
	}
	_, ch := f.raw(tb)
	_, err := ch.QueueDeclare("sink-"+topic, false, false, true, false, amqp.Table{"x-max-length": int64(0)})
	if err == nil {
		err = ch.QueueBind("sink-"+topic, "#", topic, false, nil)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return topic
}

// raw is a plain connection with a channel, without anything of Sixfold's.
func (f *fixture) raw(tb testing.TB) (*amqp.Connection, *amqp.Channel) {
	tb.Helper()
	conn, err := amqp.Dial(f.server.URL())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		tb.Fatal(err)
	}
	return conn, ch
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
		out[i] = bus.Outgoing{Topic: topic, Envelope: &sixfold.Envelope{ID: sixfold.NewID(), Source: "rabbittest", Type: "test", Key: key, Time: time.Now().UTC(),
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
