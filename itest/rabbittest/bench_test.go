package rabbittest

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// BenchmarkConsume is a consumer whose handler does nothing.
func BenchmarkConsume(b *testing.B) {
	for _, ordered := range []bool{false, true} {
		b.Run("ordered="+strconv.FormatBool(ordered), func(b *testing.B) {
			f := newFixture(b)
			sub := group(f.topic(), ordered)
			sub.MaxInFlight = 2000
			tr := f.connect(b, f.url, &rabbitmq.Options{Groups: []bus.Subscription{sub}})
			sender := hand.Open(b, tr)
			for left := b.N; left > 0; left -= 1000 {
				texts := make([]string, min(left, 1000))
				for i := range texts {
					texts[i] = strconv.Itoa(i) + "/body"
				}
				hand.MustSend(b, sender, hand.Messages(sub.Topics[0], texts...)...)
			}
			ctx, stop := context.WithCancel(b.Context())
			var n atomic.Int64
			c, err := bus.NewConsumer(tr, sub, nil, sixfold.Raw(func(context.Context, *sixfold.Envelope) error {
				if n.Add(1) == int64(b.N) {
					b.StopTimer()
					stop()
				}
				return nil
			}))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := c.Run(ctx); err != nil {
				b.Fatal(err)
			}
		})
	}
}
