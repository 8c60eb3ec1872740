package memory_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// guarantees: K2. A lane does not move while its owner holds something of it.
func TestLaneMovesOnlyWhenNothingIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		a := f.subscribe(ordersOrdered)
		var keys []string
		for i := range 200 {
			keys = append(keys, fmt.Sprintf("k%d/1", i))
		}
		f.mustSend("orders", keys...)
		held := f.receive(a, 200)
		b := f.subscribe(ordersOrdered)
		for i := range keys {
			keys[i] = strings.Replace(keys[i], "/1", "/2", 1)
		}
		f.mustSend("orders", keys...)
		f.nothing(b) // every lane is held by a
		f.settle(a, held...)
		ds, err := b.Receive(t.Context(), 200)
		if err != nil || len(ds) < 50 || len(ds) > 150 {
			t.Fatalf("after a settled, b got %d of 200, %v; want about half", len(ds), err)
		}
		f.receive(a, 200-len(ds))
		f.nothing(a)
		f.nothing(b)
	})
}

// guarantees: K2, R5. [TwoDeathsKeepOrder]
func TestTwoDeathsKeepOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		a, b, c := f.subscribe(ordersOrdered), f.subscribe(ordersOrdered), f.subscribe(ordersOrdered)
		f.mustSend("orders", "k/1", "k/2", "k/3", "k/4", "k/5", "k/6", "k/7")
		next := func(n int) (bus.Source, []*bus.Delivery) { // whoever owns the lane
			for _, s := range []bus.Source{a, b, c} {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				ds, err := s.Receive(ctx, n)
				cancel()
				if err == nil {
					return s, ds
				}
			}
			t.Fatal("nobody owns the lane")
			return nil, nil
		}
		first, ds := next(6)
		want(t, ds, "k/1", "k/2", "k/3", "k/4", "k/5", "k/6")
		f.settle(first, ds[0])
		f.Kill(first)
		select {
		case <-ds[1].Owned.Done():
		default:
			t.Error("the dead source's deliveries are still owned")
		}
		second, ds := next(3)
		want(t, ds, "k/2", "k/3", "k/4")
		if second == first || !ds[0].Redelivered {
			t.Errorf("the lane stayed with the dead (%v), redelivered is %v", second == first, ds[0].Redelivered)
		}
		f.settle(second, ds[0])
		f.Kill(second)
		third, ds := next(10)
		want(t, ds, "k/3", "k/4", "k/5", "k/6", "k/7")
		if !ds[3].Redelivered || ds[4].Redelivered {
			t.Error("6 was delivered before and 7 was not; Redelivered says otherwise")
		}
		f.settle(third, ds...)
		if n := f.Pending("orders"); n != 0 {
			t.Errorf("%d messages are pending", n)
		}
	})
}

func TestOrderedMayChangeWhileTheGroupIsEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		a := f.subscribe(orders)
		if _, err := f.Subscribe(t.Context(), ordersOrdered); !errors.Is(err, bus.ErrRefused) {
			t.Errorf("members that disagree about Ordered: %v", err)
		}
		f.mustSend("orders", "k/1", "l/1", "k/2", "l/2", "k/3", "l/3")
		f.receive(a, 3)
		a.Close(t.Context())
		b := f.subscribe(ordersOrdered)
		ds := f.receive(b, 6)
		for _, key := range []string{"k", "l"} {
			var of []*bus.Delivery
			for _, d := range ds {
				if d.Key == key {
					of = append(of, d)
				}
			}
			want(t, of, key+"/1", key+"/2", key+"/3")
		}
		b.Close(t.Context())
		want(t, f.receive(f.subscribe(orders), 6), "k/1", "l/1", "k/2", "l/2", "k/3", "l/3")
	})
}
