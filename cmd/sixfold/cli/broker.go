package cli

import (
	"context"
	"os"
	"strings"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// broker is what the commands need of a kind of broker. Each kind has a file of its own, and an entry in brokers.
type broker interface {
	// transport sends and receives. It creates nothing.
	transport() bus.Transport
	// check says how the broker is; fix is empty, or what to do because something is wrong.
	check(ctx context.Context) (text, fix string, err error)
	// find says what there is for a topic, "" when there is nothing.
	find(ctx context.Context, topic string) (text string, err error)
	// declare makes what a topic and its dead letters need, where it is missing.
	declare(ctx context.Context, t topic) error
	// compare says what there is of all else in a topology: the places of groups, and what the file has for this kind of broker.
	compare(ctx context.Context, t *topology) ([]bus.Part, error)
	// complete makes what is missing of it, and leaves what differs.
	complete(ctx context.Context, t *topology) error
	// peek answers the oldest messages of a topic (of a queue, where they wait in these), which stay there, and how many there are.
	peek(ctx context.Context, topic string, most int) (list []peeked, total uint64, err error)
	// peekCost says what peek costs there and what it does not show.
	peekCost() string
	// purge removes all messages of a topic, or of a queue, and answers how many there were.
	purge(ctx context.Context, topic string) (n uint64, err error)
	close()
}

// peeked is a message as a broker holds it.
type peeked struct {
	at      string // its place there
	env     sixfold.Envelope
	damaged error
}

// brokers are the kinds that this program knows, by the schemes of their URLs.
func brokers() map[string]func(a *app, ctx context.Context, urls string) (broker, error) {
	return map[string]func(a *app, ctx context.Context, urls string) (broker, error){
		"nats": (*app).openNATS, "tls": (*app).openNATS, "ws": (*app).openNATS, "wss": (*app).openNATS,
		"amqp": (*app).openRabbitMQ, "amqps": (*app).openRabbitMQ, "kafka": (*app).openKafka, "kafkas": (*app).openKafka, "sqs": (*app).openSQS,
		"postgres": (*app).openSQLQueue, "postgresql": (*app).openSQLQueue, "sqlite": (*app).openSQLQueue,
	}
}

// openBroker connects to the broker of the flags.
func (a *app) openBroker(ctx context.Context) (broker, error) {
	urls := a.broker
	if urls == "" {
		urls = os.Getenv("SIXFOLD_BROKER")
	}
	if strings.TrimSpace(urls) == "" {
		return nil, usage("there is no URL of a broker", "give --broker, or set SIXFOLD_BROKER, to nats://host:4222, amqp://host:5672, kafka://host:9092, sqs://region or the DSN of a database")
	}
	scheme, _, ok := strings.Cut(urls, "://")
	if !ok || !isWord(scheme) {
		return nil, usage("the URL of the broker has no scheme", "write nats://host:4222 or amqp://host:5672")
	}
	open := brokers()[scheme]
	if open == nil {
		return nil, unknownScheme("URL of the broker", scheme, []string{"nats", "tls", "ws", "wss", "amqp", "amqps", "kafka", "kafkas", "sqs", "postgres", "sqlite"})
	}
	if scheme == "postgres" || scheme == "postgresql" || scheme == "sqlite" {
		return open(a, ctx, urls) // which is a DSN
	}
	for one := range strings.SplitSeq(urls, ",") {
		_, rest, ok := strings.Cut(strings.TrimSpace(one), "://")
		if !ok {
			rest = one
		}
		if err := checkURL("URL of the broker", rest); err != nil {
			return nil, err
		}
	}
	return open(a, ctx, urls)
}
