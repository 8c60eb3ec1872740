package memory_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// Several senders, and members that receive in one goroutine and settle in another, all at once: run with -race.
func TestManyAtOnce(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run("ordered="+strconv.FormatBool(ordered), func(t *testing.T) {
			const senders, members, batches, size = 3, 3, 40, 50
			f := newFixture(t, &memory.Options{MaxPending: 500})
			sub := orders
			sub.Ordered, sub.MaxInFlight = ordered, 100
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var settled atomic.Int64
			var all sync.WaitGroup
			for range members {
				src := f.subscribe(sub)
				arrived := make(chan []*bus.Delivery, 10)
				all.Go(func() {
					defer close(arrived)
					for {
						ds, err := src.Receive(ctx, 30)
						if err != nil {
							return
						}
						arrived <- ds
					}
				})
				all.Go(func() {
					for ds := range arrived {
						if err := errors.Join(src.Settle(t.Context(), settlements(false, ds...))...); err != nil {
							t.Error(err)
						}
						if settled.Add(int64(len(ds))) == senders*batches*size {
							cancel()
						}
					}
				})
			}
			for i := range senders {
				sender, err := f.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				all.Go(func() {
					for range batches {
						batch := make([]bus.Outgoing, size)
						for j := range batch {
							batch[j] = bus.Outgoing{Topic: "orders", Envelope: &sixfold.Envelope{Key: strconv.Itoa(i*100 + j)}}
						}
						if err := errors.Join(sender.Send(t.Context(), batch).Wait(t.Context())...); err != nil {
							t.Error(err)
						}
					}
				})
			}
			all.Wait()
			if n := f.Pending("orders"); n != 0 {
				t.Errorf("%d are pending", n)
			}
		})
	}
}
