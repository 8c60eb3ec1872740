package cloudevents_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// relayed is what the relay sends all day: 256 bytes of JSON, no headers.
func relayed() *sixfold.Envelope {
	return &sixfold.Envelope{ID: sixfold.NewID(), Type: "orders.placed", Source: "shop", Key: "o-12345", Time: time.Now(), ContentType: "application/json",
		CorrelationID: sixfold.NewID(), Sequence: "7/42", Body: []byte(`{"text":"` + strings.Repeat("x", 245) + `"}`)}
}

// Reading and writing headers is on the road of every message; a target in docs would rot, a test does not.
func TestHeadersAllocateLittle(t *testing.T) {
	env := relayed()
	b := cloudevents.NATS()
	headers, _ := b.AppendHeaders(nil, env)
	if n := testing.AllocsPerRun(100, func() { headers, _ = b.AppendHeaders(headers[:0], env) }); n > 1 { // the text of the time
		t.Errorf("AppendHeaders allocates %v times", n)
	}
	received := seq(headers)
	var got sixfold.Envelope
	if n := testing.AllocsPerRun(100, func() { _ = b.Read(&got, received, env.Body) }); n > 2 {
		t.Errorf("Read allocates %v times", n)
	}
}

func BenchmarkAppendHeaders(b *testing.B) {
	env := relayed()
	binding := cloudevents.NATS()
	var headers []cloudevents.Header
	b.ReportAllocs()
	for b.Loop() {
		headers, _ = binding.AppendHeaders(headers[:0], env)
	}
}

func BenchmarkRead(b *testing.B) {
	env := relayed()
	binding := cloudevents.NATS()
	headers, _ := binding.AppendHeaders(nil, env)
	received := seq(headers)
	var got sixfold.Envelope
	b.ReportAllocs()
	for b.Loop() {
		if err := binding.Read(&got, received, env.Body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMarshal(b *testing.B) {
	env := relayed()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = cloudevents.Marshal(env)
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	data, _ := cloudevents.Marshal(relayed())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudevents.Unmarshal(data); err != nil {
			b.Fatal(err)
		}
	}
}

// The peer: encoding/json into a map, without any of the checks.
func BenchmarkUnmarshalPeer(b *testing.B) {
	data, _ := cloudevents.Marshal(relayed())
	b.ReportAllocs()
	for b.Loop() {
		var m map[string]json.RawMessage
		if err := json.Unmarshal(data, &m); err != nil {
			b.Fatal(err)
		}
	}
}
