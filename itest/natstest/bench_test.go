package natstest

import (
	"errors"
	"strconv"
	"testing"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// One operation is one message that is there already, received and settled in batches, from a server in another process.
func BenchmarkReceive(b *testing.B) {
	server, err := servers.StartNATSProcess(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	for _, ordered := range []bool{false, true} {
		b.Run("ordered="+strconv.FormatBool(ordered), func(b *testing.B) {
			t, err := nats.New(server.URL(), nil)
			if err != nil {
				b.Fatal(err)
			}
			defer t.Close(b.Context())
			topic := "t-" + strconv.FormatBool(ordered) + "-" + strconv.Itoa(b.N)
			if err := t.Declare(b.Context(), topic); err != nil {
				b.Fatal(err)
			}
			fill(b, t, topic, b.N)
			src := hand.Subscribe(b, t, bus.Subscription{Topics: []string{topic}, Group: "g", Ordered: ordered, MaxInFlight: 2000})
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				ds, err := src.Receive(b.Context(), 1000)
				if err != nil {
					b.Fatal(err)
				}
				ss := make([]bus.Settlement, len(ds))
				for i, d := range ds {
					ss[i].Delivery = d
				}
				if err := errors.Join(src.Settle(b.Context(), ss)...); err != nil {
					b.Fatal(err)
				}
				n += len(ds)
			}
			b.StopTimer()
		})
	}
}

// fill sends n messages of 1,000 keys.
func fill(tb testing.TB, t bus.Transport, topic string, n int) {
	sender := hand.Open(tb, t)
	defer sender.Close(tb.Context())
	var last bus.Pending
	for sent := 0; sent < n; {
		texts := make([]string, min(500, n-sent))
		for i := range texts {
			texts[i] = strconv.Itoa((sent+i)%1000) + "/x"
		}
		batch := hand.Messages(topic, texts...)
		for i := range batch {
			batch[i].Body = make([]byte, 256)
		}
		last = sender.Send(tb.Context(), batch)
		sent += len(texts)
	}
	if last == nil {
		return
	}
	for _, err := range last.Wait(tb.Context()) {
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// One operation is one message from Send to its confirm.
func BenchmarkSend(b *testing.B) {
	server, err := servers.StartNATSProcess(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	t, err := nats.New(server.URL(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer t.Close(b.Context())
	if err := t.Declare(b.Context(), "t"); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	fill(b, t, "t", b.N)
}
