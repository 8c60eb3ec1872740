package bus_test

import (
	"context"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
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
	return bus.Capabilities{Name: "endless", OrderPerKey: true, PrefixPerKey: true, Confirms: true}
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
