// Package rabbittest tests package transport/rabbitmq on real servers.
package rabbittest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

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

func group(topic string, ordered bool) bus.Subscription {
	return bus.Subscription{Topics: []string{topic}, Group: "shipping", Ordered: ordered}
}
