package memory_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

func TestLeasePasses(t *testing.T) {
	for _, ordered := range []bool{false, true} {
		t.Run("ordered="+strconv.FormatBool(ordered), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, &memory.Options{Lease: 30 * time.Second})
				sub := orders
				sub.Ordered = ordered
				a := f.subscribe(sub)
				f.mustSend("orders", "k/1", "k/2", "k/3")
				ds := f.receive(a, 3)
				b := f.subscribe(sub)
				for range 5 {
					time.Sleep(f.Capabilities().ExtendEvery)
					if err := a.Extend(t.Context(), ds); err != nil {
						t.Fatal(err)
					}
					f.nothing(b)
				}
				time.Sleep(20 * time.Second)
				a.Extend(t.Context(), ds[1:])
				time.Sleep(15 * time.Second)
				synctest.Wait()
				if ds[0].Owned.Err() == nil {
					t.Error("the first delivery's lease passed and it is still owned")
				}
				if ordered {
					at := time.Now()
					again := f.receive(b, 3)
					if waited := time.Since(at); waited > 0 {
						t.Errorf("the rest of the lane came %v after its first delivery was lost; it goes as a whole", waited)
					}
					want(t, again, "k/1", "k/2", "k/3")
					if errs := a.Settle(t.Context(), settlements(false, ds[2])); !errors.Is(errs[0], bus.ErrLost) {
						t.Errorf("settle of a lost lane: %v", errs[0])
					}
					return
				}
				want(t, f.receive(b, 1), "k/1")
				if err := a.Extend(t.Context(), ds); !errors.Is(err, bus.ErrLost) {
					t.Errorf("extend with a lost delivery: %v", err)
				}
				f.settle(a, ds[1:]...)
			})
		})
	}
}

// The lease of what was not extended passes although an earlier delivery was.
func TestLeasesPassOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{Lease: 3 * time.Second})
		a := f.subscribe(orders)
		f.mustSend("orders", "/1", "/2")
		ds := f.receive(a, 2)
		time.Sleep(2 * time.Second)
		a.Extend(t.Context(), ds[:1])
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if ds[0].Owned.Err() != nil || ds[1].Owned.Err() == nil {
			t.Errorf("the first was extended and the second was not; owned: %v and %v", ds[0].Owned.Err() == nil, ds[1].Owned.Err() == nil)
		}
		f.settle(a, ds[0])
	})
}

func TestHungMemberLosesItsLanesAndGetsThemBackWhenItReceives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{Lease: time.Second})
		a := f.subscribe(ordersOrdered)
		f.mustSend("orders", "k/1")
		f.receive(a, 1)
		time.Sleep(2 * time.Second)
		b := f.subscribe(ordersOrdered)
		ds := f.receive(b, 1)
		f.settle(b, ds...)
		var more []string
		for i := range 100 {
			more = append(more, fmt.Sprintf("m%d/1", i))
		}
		f.mustSend("orders", more...)
		f.settle(b, f.receive(b, 100)...) // a sleeps, so b has all lanes
		f.nothing(a)                      // a is awake again
		f.mustSend("orders", more...)
		n := 0
		ds, err := a.Receive(t.Context(), 100)
		if n = len(ds); err != nil || n == 0 || n == 100 {
			t.Errorf("a got %d of 100, %v; want a share", n, err)
		}
	})
}
