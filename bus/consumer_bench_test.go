package bus_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// endless is a Source that delivers n messages as fast as it is asked, each a fresh copy, with an in-flight bound like
// that of a broker. Its own share of the allocations is one block per batch.
type endless struct {
	left, inFlight atomic.Int64
	max            int64
	keys           []string
	next           int
	freed          chan struct{}
	done           chan struct{}
}

func (e *endless) Subscribe(_ context.Context, s bus.Subscription) (bus.Source, error) {
	e.max = int64(s.MaxInFlight)
	return e, nil
}
func (e *endless) Capabilities() bus.Capabilities {
	return bus.Capabilities{Name: "endless", OrderPerKey: true, PrefixPerKey: true, Confirms: true, Copies: true}
}
func (e *endless) Receive(ctx context.Context, most int) ([]*bus.Delivery, error) {
	for {
		n := min(int64(most), e.left.Load(), e.max-e.inFlight.Load())
		if n > 0 {
			e.left.Add(-n)
			e.inFlight.Add(n)
			block := make([]bus.Delivery, n)
			out := make([]*bus.Delivery, n)
			for i := range block {
				d := &block[i]
				d.Type, d.ID, d.Topic = "bench.done", "1", "bench"
				if len(e.keys) > 0 {
					d.Key = e.keys[e.next%len(e.keys)]
					e.next++
				}
				out[i] = d
			}
			return out, nil
		}
		select {
		case <-e.freed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
func (e *endless) Settle(_ context.Context, s []bus.Settlement) []error {
	if e.inFlight.Add(-int64(len(s))) == 0 && e.left.Load() == 0 {
		close(e.done)
	}
	select {
	case e.freed <- struct{}{}:
	default:
	}
	return make([]error, len(s))
}
func (e *endless) Extend(context.Context, []*bus.Delivery) error { return nil }
func (e *endless) Close(context.Context) error                   { return nil }

func BenchmarkConsumer(b *testing.B) {
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = "key-" + strconv.Itoa(i)
	}
	for _, bench := range []struct {
		name  string
		keys  []string
		batch bool
	}{{"keyed", keys, false}, {"one-key", keys[:1], false}, {"unkeyed", nil, false}, {"batch", keys, true}} {
		b.Run(bench.name, func(b *testing.B) {
			e := &endless{keys: bench.keys, freed: make(chan struct{}, 1), done: make(chan struct{})}
			e.left.Store(int64(b.N))
			route := sixfold.RawNamed("bench.done", func(context.Context, *sixfold.Envelope) error { return nil })
			if bench.batch {
				route.Batch = func(context.Context, []*sixfold.Envelope) error { return nil }
			}
			c, err := bus.NewConsumer(e, bus.Subscription{Topics: []string{"bench"}, Group: "g", Ordered: true},
				&bus.Options{DeadLetters: bus.DropDeadLetters()}, route)
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			ended := make(chan error, 1)
			b.ReportAllocs()
			b.ResetTimer()
			go func() { ended <- c.Run(ctx) }()
			<-e.done
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkConsumerMemory is the whole way: published, through the in-process broker, handled, acknowledged.
func BenchmarkConsumerMemory(b *testing.B) {
	for _, ordered := range []bool{true, false} {
		b.Run("ordered="+strconv.FormatBool(ordered), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			broker := memory.New(&memory.Options{Topics: []string{"bench"}, MaxPending: b.N + 1})
			var left atomic.Int64
			left.Store(int64(b.N))
			done := make(chan struct{})
			c, err := bus.NewConsumer(broker, bus.Subscription{Topics: []string{"bench"}, Group: "g", Ordered: ordered}, nil,
				sixfold.RawNamed("bench.done", func(context.Context, *sixfold.Envelope) error {
					if left.Add(-1) == 0 {
						close(done)
					}
					return nil
				}))
			if err != nil {
				b.Fatal(err)
			}
			sender, err := broker.Open(ctx)
			if err != nil {
				b.Fatal(err)
			}
			const size = 100
			batch := make([]bus.Outgoing, size)
			for n := 0; n < b.N; n += size {
				for i := range batch {
					batch[i] = bus.Outgoing{Topic: "bench", Envelope: &sixfold.Envelope{ID: "1", Type: "bench.done", Key: strconv.Itoa((n + i) % 1000), Body: nil}}
				}
				for _, err := range sender.Send(ctx, batch[:min(size, b.N-n)]).Wait(ctx) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			ended := make(chan error, 1)
			b.ReportAllocs()
			b.ResetTimer()
			go func() { ended <- c.Run(ctx) }()
			<-done
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
			cancel()
			if err := <-ended; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkPublisher is one message a call, by many callers at once.
func BenchmarkPublisher(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run("callers="+strconv.Itoa(callers), func(b *testing.B) {
			broker := memory.New(&memory.Options{Topics: []string{"bench"}, MaxPending: b.N + 1000})
			p, err := bus.NewPublisher(broker, nil)
			if err != nil {
				b.Fatal(err)
			}
			var wg sync.WaitGroup
			b.ReportAllocs()
			for range callers {
				wg.Go(func() {
					for range b.N / callers {
						if err := p.PublishEnvelopes(b.Context(), "bench", []*sixfold.Envelope{{ID: "018f4d3e-7d4c-7b3a-9c0a-0123456789ab", Type: "bench.done"}}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if err := p.Close(b.Context()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
