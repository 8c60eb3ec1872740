package cli

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/itest/servers"
)

// Messages that are fetched beside a consumer would come back to it in another order, so a queue that has one is refused.
func TestPeekLeavesQueuesWithConsumersAlone(t *testing.T) {
	url := servers.RabbitMQ(t).URL()
	r := newRunner(t, "SIXFOLD_BROKER="+url)
	if got := r.run("bus", "declare", "cli.busy"); got.code != 0 {
		t.Fatal(got.err)
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err == nil {
		_, err = ch.Consume("cli.busy.dead", "", false, false, false, false, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := r.run("bus", "peek", "cli.busy.dead"); got.code != 4 || got.out != "" || !strings.Contains(got.err, "has 1 consumers") {
		t.Errorf("code %d, %q", got.code, got.all())
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	if got := r.run("bus", "peek", "cli.busy.dead"); got.code != 0 {
		t.Errorf("without its consumer: code %d, %q", got.code, got.all())
	}
}

// forgetTopic removes what an earlier run with the same node has left of a topic.
func forgetTopic(t *testing.T, topic string) {
	t.Helper()
	conn, err := amqp.Dial(servers.RabbitMQ(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	for _, name := range []string{topic, topic + ".dead"} {
		if err == nil {
			err = ch.ExchangeDelete(name, false, false)
		}
	}
	if err == nil {
		_, err = ch.QueueDelete(topic+".dead", false, false, false)
	}
	if err != nil {
		t.Fatal(err)
	}
}
