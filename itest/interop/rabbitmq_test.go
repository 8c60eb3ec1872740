package interop

import (
	"context"
	"fmt"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// rabbit is a transport with a topic of the test's own, for which a group waits.
func rabbit(t *testing.T) (broker *rabbitmq.Transport, url, topic string) {
	t.Helper()
	url = servers.RabbitMQ(t).URL()
	topic = "interop." + strings.ToLower(sixfold.NewID()[24:])
	broker, err := rabbitmq.New(url, &rabbitmq.Options{Topics: []string{topic}, Groups: []bus.Subscription{{Topics: []string{topic}, Group: "service"}}})
	must(t, err)
	t.Cleanup(func() { broker.Close(context.Background()) })
	must(t, broker.Declare(t.Context(), topic))
	return broker, url, topic
}

// Three prefixes are in use: the two of the AMQP binding, and the one of Knative's binding for RabbitMQ.
func fromRabbit(t *testing.T, p *peer, prefix string) {
	t.Helper()
	broker, url, topic := rabbit(t)
	got := arrivals(t, broker, topic)
	all := append(trips(), raws(prefix)...)
	wishes := make([]wish, len(all))
	for i := range all {
		wishes[i] = all[i].wish
	}
	p.send(t, "rabbitmq", wishes, url, topic, prefix)
	compare(t, got, all)
}

func toRabbit(t *testing.T, p *peer) {
	t.Helper()
	broker, url, topic := rabbit(t)
	checkAll(t, func() func() seen {
		next := p.receive(t, "rabbitmq", url, topic, fmt.Sprint(len(outgoing())))
		publish(t, broker, topic)
		return next
	}(), false)

	// Structured mode, which other services may send where Sixfold's driver sends binary mode.
	next := p.receive(t, "rabbitmq", url, topic, fmt.Sprint(len(outgoing())))
	conn, err := amqp.Dial(url)
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	for _, env := range outgoing() {
		text, err := cloudevents.Marshal(env)
		must(t, err)
		headers := amqp.Table{}
		for k, v := range env.Headers { // which the check looks for beside the event
			headers[k] = v
		}
		must(t, ch.PublishWithContext(t.Context(), topic, "", false, false, amqp.Publishing{ContentType: cloudevents.ContentType, Headers: headers, Body: text}))
	}
	checkAll(t, next, false)
}

func TestFromNodeThroughRabbitMQ(t *testing.T) {
	for _, prefix := range []string{"cloudEvents:", "cloudEvents_", "ce-"} {
		t.Run(prefix, func(t *testing.T) { fromRabbit(t, node(t), prefix) })
	}
}

func TestToNodeThroughRabbitMQ(t *testing.T) { toRabbit(t, node(t)) }

func TestFromPythonThroughRabbitMQ(t *testing.T) {
	for _, prefix := range []string{"cloudEvents_", "ce-"} {
		t.Run(prefix, func(t *testing.T) { fromRabbit(t, python(t), prefix) })
	}
}

func TestToPythonThroughRabbitMQ(t *testing.T) { toRabbit(t, python(t)) }
