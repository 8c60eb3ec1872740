package memory_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/transport/memory"
)

// A confirm that is withheld while its batch waits for room is not forgotten when the sender is lost.
func TestCutWhileABatchWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, &memory.Options{MaxPending: 1})
		f.subscribe(orders)
		f.HoldConfirms(func(string, *sixfold.Envelope) bool { return true })
		sent := make(chan []error)
		go func() { sent <- f.send("orders", "a/1", "b/2") }()
		synctest.Wait()
		f.Cut()
		for _, err := range <-sent {
			if !errors.Is(err, bus.ErrUnavailable) {
				t.Errorf("cut while the batch waited for room: %v", err)
			}
		}
	})
}

func TestCutTakesDeliveriesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		src := f.subscribe(ordersOrdered)
		f.mustSend("orders", "k/1", "k/2")
		ds := f.receive(src, 1)
		f.Cut()
		if ds[0].Owned.Err() == nil {
			t.Error("the delivery is still owned")
		}
		if errs := src.Settle(t.Context(), settlements(false, ds...)); !errors.Is(errs[0], bus.ErrLost) {
			t.Errorf("settle after the cut: %v", errs[0])
		}
		f.nothing(src)
		f.Restore()
		again := f.receive(src, 2)
		want(t, again, "k/1", "k/2")
		if !again[0].Redelivered || again[1].Redelivered {
			t.Error("Redelivered is wrong")
		}
	})
}

func TestLostSenderAnswersThatTheTransportWasClosed(t *testing.T) {
	f := newFixture(t, nil)
	f.subscribe(orders)
	f.Cut()
	if errs := f.send("orders", "k/1"); !errors.Is(errs[0], bus.ErrUnavailable) {
		t.Errorf("after the cut: %v", errs[0])
	}
	f.Close(t.Context())
	if errs := f.send("orders", "k/2"); !errors.Is(errs[0], bus.ErrClosed) {
		t.Errorf("after Close: %v", errs[0])
	}
}

func TestWithheldConfirms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, nil)
		f.subscribe(orders)
		f.HoldConfirms(func(_ string, e *sixfold.Envelope) bool { return e.Key == "slow" })
		send := func() bus.Pending {
			return f.sender.Send(t.Context(), []bus.Outgoing{
				{Topic: "orders", Envelope: &sixfold.Envelope{Key: "fast"}},
				{Topic: "orders", Envelope: &sixfold.Envelope{Key: "slow"}},
			})
		}
		p := send()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if errs := p.Wait(ctx); errs[0] != nil || !errors.Is(errs[1], context.DeadlineExceeded) {
			t.Errorf("while withheld: %v", errs)
		}
		f.ReleaseConfirms()
		if err := errors.Join(p.Wait(ctx)...); err != nil {
			t.Errorf("after the release: %v", err)
		}
		p = send()
		f.sender.Close(t.Context())
		if errs := p.Wait(t.Context()); errs[0] != nil || !errors.Is(errs[1], bus.ErrUnavailable) {
			t.Errorf("sender closed while withheld: %v", errs)
		}
		f.open()
		p = send()
		f.Cut()
		if errs := p.Wait(t.Context()); errs[0] != nil || !errors.Is(errs[1], bus.ErrUnavailable) {
			t.Errorf("cut while withheld: %v", errs)
		}
	})
}

// [PrefixAfterFailure]
func TestRefusedSends(t *testing.T) {
	f := newFixture(t, nil)
	f.subscribe(orders)
	f.RefuseSends(func(_ string, e *sixfold.Envelope) error {
		if e.ID == "k/2" {
			return bus.ErrRefused
		}
		return nil
	})
	var taken []string
	f.Tap(func(topic string, e *sixfold.Envelope) { taken = append(taken, topic+" "+e.ID) })
	errs := f.send("orders", "k/1", "k/2", "l/1", "k/3", "/1")
	if errs[0] != nil || !errors.Is(errs[1], bus.ErrRefused) || errs[2] != nil || !errors.Is(errs[3], bus.ErrBehindFailed) || errs[4] != nil {
		t.Errorf("got %v", errs)
	}
	if !slices.Equal(taken, []string{"orders k/1", "orders l/1", "orders /1"}) {
		t.Errorf("the tap saw %v", taken)
	}
}
