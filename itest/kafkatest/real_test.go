package kafkatest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/sixfold-go/sixfold/bus/bustest"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/request/requesttest"
	"github.com/sixfold-go/sixfold/transport/kafka"
)

// newReal starts an Apache Kafka for one test.
func newReal(t *testing.T) (*fixture, *servers.KafkaServer) {
	t.Helper()
	k := servers.PrivateKafka(t)
	f := &fixture{TB: t, seeds: k.Address(), name: "topic"}
	c := f.raw(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for { // it takes connections before it can do anything
		if brokers, err := kadm.NewClient(c).ListBrokers(ctx); err == nil && len(brokers) == 1 {
			if _, _, err := c.ProducerID(ctx); err == nil {
				return f, k
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("Kafka is not ready: %s", k.Log())
		}
	}
}

// The suite on Apache Kafka itself.
// guarantees: R1, R2, R4, R5, R6, R7, K2, O5
func TestConformanceOnKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("the fake brokers are enough for a short run")
	}
	for _, variant := range []struct {
		name string
		o    kafka.Options
	}{{"classic groups", kafka.Options{}}, {"groups of KIP-848", kafka.Options{ServerSide: true}}} {
		t.Run(variant.name, func(t *testing.T) {
			f, _ := newReal(t)
			bustest.Run(t, bustest.Config{Quiet: time.Second, Patience: time.Minute, NotApplicable: map[string]string{
				"Open/Refused": "the broker of this test has no log-in", "Subscribe/Refused": "the broker of this test has no log-in"}},
				func(tb testing.TB) bustest.Harness {
					h := f.harness(tb, variant.o)
					h.Refused = nil
					return h
				})
		})
	}
}

// Calls over Apache Kafka itself.
// guarantees: Q1, Q2, Q3, Q4, Q5, Q6
func TestRequestLaneOnKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("the fake brokers are enough for a short run")
	}
	f, _ := newReal(t)
	requesttest.Run(t, requesttest.Config{Deadline: 4 * time.Second, Patience: 2 * time.Minute, Slack: time.Minute}, f.requestHarness)
}

// Kafka's own console consumer reads what the driver wrote, and the driver what its console producer wrote.
func TestForeignClient(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: Apache Kafka takes its time to start")
	}
	f, k := newReal(t)
	tr, _ := f.connect(t, fast(kafka.Options{}))
	topic := declare(t, tr, f.topic())
	batch := hand.Messages(topic, "kèy/grüße")
	batch[0].Headers = map[string]string{"tenant": "Ä"}
	hand.MustSend(t, hand.Open(t, tr), batch...)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := k.Tool(ctx, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", f.seeds, "--topic", topic, "--from-beginning", "--max-messages", "1", "--timeout-ms", "120000",
		"--formatter-property", "print.key=true", "--formatter-property", "print.headers=true")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, part := range []string{"ce_specversion:1.0", "ce_id:" + batch[0].ID, "ce_type:test", "ce_source:hand", "ce_partitionkey:kèy", "content-type:text/plain", "tenant:Ä", "kèy\t", "kèy/grüße"} {
		if !strings.Contains(out, part) {
			t.Errorf("%q is not in: %s", part, out)
		}
	}
}

// A broker that is killed and comes again: whatever was confirmed is there, in the order of its key.
// guarantees: R1, R4, R7
func TestBrokerKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: Apache Kafka takes its time to start")
	}
	f, k := newReal(t)
	tr, _ := f.connect(t, calm(kafka.Options{}))
	topic := declare(t, tr, f.topic())
	src := hand.Subscribe(t, tr, group(topic))
	s := hand.Open(t, tr)
	hand.MustSend(t, s, hand.Messages(topic, "k/1", "k/2")...)
	hand.Settle(t, src, hand.Receive(t, src, 1)...)
	if err := k.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, err := range hand.Send(t, s, hand.Messages(topic, "k/3")...) {
		if err == nil {
			t.Error("a dead broker confirmed")
		}
	}
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	for {
		again, err := tr.Open(ctx)
		if err == nil {
			err = again.Send(ctx, hand.Messages(topic, "k/3")).Wait(ctx)[0]
		}
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	last := ""
	for last != "k/3" {
		for _, d := range hand.Receive(t, src, 1) {
			last = string(d.Body)
			hand.TrySettle(t, src, false, d)
		}
	}
	var all []string
	for _, rs := range f.log(t, topic) {
		for _, r := range rs {
			all = append(all, string(r.Value))
		}
	}
	if text := strings.Join(all, " "); !strings.HasPrefix(text, "k/1 k/2 k/3") {
		t.Errorf("the log has %s", text)
	}
}
