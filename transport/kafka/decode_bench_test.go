package kafka

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/cloudevents"
)

type noted struct {
	Text string
}

func (noted) MessageName() string { return "bench.noted" }

// BenchmarkDecode reads a record of a relay: eight attributes and a body.
func BenchmarkDecode(b *testing.B) {
	env, err := sixfold.NewEnvelope(context.Background(), "/shop", nil, noted{"a text"})
	if err != nil {
		b.Fatal(err)
	}
	env.Key, env.Sequence = "customer-7", "12/345678"
	binding := cloudevents.Kafka()
	headers, err := binding.AppendHeaders(nil, env)
	if err != nil {
		b.Fatal(err)
	}
	r := &kgo.Record{Key: []byte(env.Key), Value: env.Body}
	for _, h := range headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
	}
	b.ReportAllocs()
	for b.Loop() {
		h := &held{}
		if err := decode(binding, r, &h.delivery.Envelope); err != nil {
			b.Fatal(err)
		}
	}
}
