package memory_test

import (
	"strconv"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// One operation is one envelope through Send, Wait, Receive and Settle, in batches of 100.
func BenchmarkRoundTrip(b *testing.B) {
	for _, ordered := range []bool{false, true} {
		b.Run("ordered="+strconv.FormatBool(ordered), func(b *testing.B) {
			ctx := b.Context()
			broker := memory.New(nil)
			defer broker.Close(ctx)
			src, err := broker.Subscribe(ctx, bus.Subscription{Topics: []string{"orders"}, Group: "g", Ordered: ordered})
			if err != nil {
				b.Fatal(err)
			}
			sender, err := broker.Open(ctx)
			if err != nil {
				b.Fatal(err)
			}
			const size = 100
			batch := make([]bus.Outgoing, size)
			for i := range batch {
				batch[i] = bus.Outgoing{Topic: "orders", Envelope: &sixfold.Envelope{ID: strconv.Itoa(i), Type: "orders.placed",
					Key: strconv.Itoa(i % 50), Body: make([]byte, 256)}}
			}
			settlements := make([]bus.Settlement, 0, size)
			b.ReportAllocs()
			for n := 0; n < b.N; n += size {
				for _, err := range sender.Send(ctx, batch).Wait(ctx) {
					if err != nil {
						b.Fatal(err)
					}
				}
				for got := 0; got < size; {
					ds, err := src.Receive(ctx, size)
					if err != nil {
						b.Fatal(err)
					}
					settlements = settlements[:0]
					for _, d := range ds {
						settlements = append(settlements, bus.Settlement{Delivery: d})
					}
					for _, err := range src.Settle(ctx, settlements) {
						if err != nil {
							b.Fatal(err)
						}
					}
					got += len(ds)
				}
			}
		})
	}
}
