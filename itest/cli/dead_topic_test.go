package cli

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/kafka"
	"github.com/sixfold-go/sixfold/transport/nats"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// deadTopicOf sends three messages to topic, where somebody may receive them, and then their dead letters.
func deadTopicOf(t *testing.T, tr bus.Transport, topic string, first bool) {
	t.Helper()
	s, err := tr.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.WithoutCancel(t.Context()))
	for i, id := range []string{"m-1", "m-2", "m-3"} {
		env := &sixfold.Envelope{ID: id, Source: "shop", Type: "orders.placed", Key: "k", ContentType: "text/plain", Headers: map[string]string{"tenant": "7"}, Body: []byte("body of " + id)}
		dead := *env
		dead.Headers = map[string]string{"tenant": "7", bus.DeadReason: "attempts", bus.DeadError: "it failed", bus.DeadAttempts: "10", bus.DeadTopic: topic, bus.DeadConsumer: "billing"}
		if i == 2 {
			dead.Headers[bus.DeadTopic] = "elsewhere"
		}
		all := []bus.Outgoing{{Topic: topic, Envelope: env}, {Topic: topic + bus.DeadSuffix, Envelope: &dead}}
		if !first {
			all = all[1:]
		}
		if err := errors.Join(s.Send(t.Context(), all).Wait(t.Context())...); err != nil {
			t.Fatal(err)
		}
	}
}

// redriveTopic is what all brokers do.
func redriveTopic(t *testing.T, r *runner, broker, topic string) {
	t.Helper()
	want := func(code int, text string, args ...string) {
		t.Helper()
		if got := r.run(args...); got.code != code || !strings.Contains(got.all(), text) {
			t.Errorf("%v: code %d, want %d with %q: %s", args, got.code, code, text, got.all())
		}
	}
	want(2, "--topic is missing", "dead", "list", "--broker", broker)
	want(0, "3 of 3 messages of "+topic+".dead", "dead", "list", "--broker", broker, "--topic", topic)
	want(0, "billing   attempts  10        it failed", "dead", "list", "--at-broker", "--topic", topic)
	want(0, `"reason":"attempts"`, "--format", "json", "dead", "list", "--at-broker", "--topic", topic, "--id", "m-2")
	want(0, "0 of 3", "dead", "list", "--at-broker", "--topic", topic, "--error", "other")
	want(4, "--yes is missing", "dead", "redrive", "--at-broker", "--topic", topic)
	want(2, "--canary and --run", "dead", "redrive", "--at-broker", "--topic", topic, "--canary", "--yes")
	want(0, "2 messages of "+topic+".dead would go back", "dead", "redrive", "--at-broker", "--topic", topic, "--dry-run")
	want(0, "sent 1 messages", "dead", "redrive", "m-2", "--at-broker", "--topic", topic, "--yes")
	want(0, "2 of 2", "dead", "list", "--at-broker", "--topic", topic)
	want(0, "sent 1 messages", "dead", "redrive", "--at-broker", "--topic", topic, "--yes", "--rate", "100")
	want(0, `it says that it came from topic "elsewhere"`, "dead", "redrive", "--at-broker", "--topic", topic, "--yes")
	want(0, "1 of 1", "dead", "list", "--at-broker", "--topic", topic)
}

// Dead letters of consumers without a database go back to their topic, although the stream has seen their ids. [RedriveNotSwallowed]
func TestDeadTopicOfNATS(t *testing.T) {
	url := servers.NATS(t, nil).URL()
	r := newRunner(t, "SIXFOLD_BROKER="+url)
	if got := r.run("bus", "declare", "orders"); got.code != 0 {
		t.Fatal(got.err)
	}
	tr, err := nats.New(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(context.WithoutCancel(t.Context()))
	deadTopicOf(t, tr, "orders", true)
	redriveTopic(t, r, url, "orders")
	got := r.run("bus", "peek", "orders", "--body")
	if strings.Count(got.out, "body of m-1") != 2 || strings.Count(got.out, "body of m-2") != 2 || strings.Count(got.out, "body of m-3") != 1 || strings.Contains(got.out, "sixfold-dead") || !strings.Contains(got.out, `tenant="7"`) {
		t.Errorf("the topic has: %s", got.out)
	}
}

func TestDeadTopicOfRabbitMQ(t *testing.T) {
	url := servers.RabbitMQ(t).URL()
	forgetTopic(t, "cli.redrive")
	r := newRunner(t, "SIXFOLD_BROKER="+url)
	if got := r.run("bus", "declare", "cli.redrive"); got.code != 0 {
		t.Fatal(got.err)
	}
	tr, err := rabbitmq.New(url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(context.WithoutCancel(t.Context()))
	src, err := tr.Subscribe(t.Context(), bus.Subscription{Topics: []string{"cli.redrive"}, Group: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close(context.WithoutCancel(t.Context()))
	deadTopicOf(t, tr, "cli.redrive", false)
	redriveTopic(t, r, url, "cli.redrive")
	seen := map[string]int{}
	for len(seen) < 2 {
		ds, err := src.Receive(t.Context(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			seen[d.ID]++
		}
	}
	if seen["m-1"] != 1 || seen["m-2"] != 1 {
		t.Errorf("arrived: %v", seen)
	}
}

// fakeKafka starts fake brokers and answers their URL.
func fakeKafka(t *testing.T) string {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return "kafka://" + c.ListenAddrs()[0]
}

// kafkaWithDead starts fake brokers with three messages of topic, and their dead letters.
func kafkaWithDead(t *testing.T, topic string) string {
	t.Helper()
	url := fakeKafka(t)
	withDead(t, url, topic)
	return url
}

func withDead(t *testing.T, url, topic string) {
	t.Helper()
	tr, err := kafka.New(url, &kafka.Options{Topics: []string{topic}})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close(context.WithoutCancel(t.Context()))
	for { // Apache Kafka takes connections before it can do anything
		s, err := tr.Open(t.Context())
		if err == nil {
			err = s.Close(t.Context())
		}
		if err == nil {
			break
		}
		if !errors.Is(err, bus.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	deadTopicOf(t, tr, topic, true)
}

// Kafka removes nothing from the middle of a partition: what was sent again is noted until all before it was.
func TestDeadTopicOfKafka(t *testing.T) {
	deadTopicOfKafka(t, kafkaWithDead(t, "orders"))
}

// The same on Apache Kafka itself, where its jars are.
func TestDeadTopicOfApacheKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: Apache Kafka takes its time to start")
	}
	url := servers.PrivateKafka(t).URL()
	withDead(t, url, "orders")
	deadTopicOfKafka(t, url)
}

func deadTopicOfKafka(t *testing.T, url string) {
	t.Helper()
	r := newRunner(t, "SIXFOLD_BROKER="+url)
	redriveTopic(t, r, url, "orders")
	got := r.run("bus", "peek", "orders", "--body")
	if strings.Count(got.out, "body of m-1") != 2 || strings.Count(got.out, "body of m-2") != 2 || strings.Count(got.out, "body of m-3") != 1 || strings.Contains(got.out, "sixfold-dead") || !strings.Contains(got.out, `tenant="7"`) {
		t.Errorf("the topic has: %s", got.out)
	}
	if got := r.run("bus", "peek", "orders.dead"); !strings.Contains(got.out, "1 of 1") {
		t.Errorf("what was sent again is still there: %s", got.all())
	}
}
