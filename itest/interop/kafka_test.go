package interop

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// cluster is a transport with a topic, on a broker in the process.
func cluster(t *testing.T) (broker *kafka.Transport, seeds, topic string) {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	must(t, err)
	t.Cleanup(c.Close)
	seeds = strings.Join(c.ListenAddrs(), ",")
	topic = "interop-" + strings.ToLower(sixfold.NewID()[24:])
	// kafkajs cannot read Snappy, the default, without a package of its own.
	broker, err = kafka.New(seeds, &kafka.Options{Topics: []string{topic}, Partitions: 3, Compression: []kgo.CompressionCodec{kgo.GzipCompression()}})
	must(t, err)
	t.Cleanup(func() { broker.Close(context.Background()) })
	s, err := broker.Open(t.Context()) // which creates the topic
	must(t, err)
	must(t, s.Close(t.Context()))
	return broker, seeds, topic
}

func fromKafka(t *testing.T, p *peer) {
	t.Helper()
	broker, seeds, topic := cluster(t)
	got := arrivals(t, broker, topic)
	all := append(trips(), raws("ce_")...)
	wishes := make([]wish, len(all))
	for i := range all {
		wishes[i] = all[i].wish
	}
	p.send(t, "kafka", wishes, seeds, topic)
	compare(t, got, all)
}

func toKafka(t *testing.T, p *peer) {
	t.Helper()
	broker, seeds, topic := cluster(t)
	next := p.receive(t, "kafka", seeds, topic, fmt.Sprint(len(outgoing())))
	publish(t, broker, topic)
	checkAll(t, next, false)

	_, seeds, topic = cluster(t)
	next = p.receive(t, "kafka", seeds, topic, fmt.Sprint(len(outgoing())))
	client, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(seeds, ",")...), kgo.ProducerBatchCompression(kgo.GzipCompression()))
	must(t, err)
	defer client.Close()
	for _, env := range outgoing() {
		text, err := cloudevents.Marshal(env)
		must(t, err)
		r := &kgo.Record{Topic: topic, Key: []byte(env.Key), Value: text, Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte(cloudevents.ContentType)}}}
		for k, v := range env.Headers { // which the check looks for beside the event
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: k, Value: []byte(v)})
		}
		must(t, client.ProduceSync(t.Context(), r).FirstErr())
	}
	checkAll(t, next, false)
}

func TestFromNodeThroughKafka(t *testing.T) { fromKafka(t, node(t)) }

func TestToNodeThroughKafka(t *testing.T) { toKafka(t, node(t)) }

func TestFromPythonThroughKafka(t *testing.T) { fromKafka(t, python(t)) }

func TestToPythonThroughKafka(t *testing.T) { toKafka(t, python(t)) }
