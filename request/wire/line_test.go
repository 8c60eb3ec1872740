package wire_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sixfold-go/sixfold/request/wire"
)

var errGone = errors.New("gone")

// What was handed over before the end goes out, in its order; what comes after it does not.
func TestEndSendsWhatIsLeft(t *testing.T) {
	l := wire.New[int](10, errGone)
	for n := range 3 {
		if err := l.Send(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	if !l.End() || l.End() {
		t.Error("the first End is not the first")
	}
	var got []int
	go l.Write(func(n int) { got = append(got, n) })
	<-l.Written()
	if len(got) != 3 || got[0] != 0 || got[2] != 2 {
		t.Errorf("%v went out", got)
	}
	l.HandOver(func() { t.Error("something was handed over after the end") })
}

// End waits for what is being handed over.
func TestEndWaits(t *testing.T) {
	l := wire.New[int](1, errGone)
	began, hold := make(chan struct{}), make(chan struct{})
	over := false
	go l.HandOver(func() {
		close(began)
		<-hold
		over = true
	})
	<-began
	go close(hold)
	l.End()
	if !over { // which the race detector sees too
		t.Error("it did not wait")
	}
}

// A full line, one that was lost and one that was ended make nobody wait for ever.
func TestSendEnds(t *testing.T) {
	l := wire.New[int](0, errGone)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Send(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("on a full line: %v", err)
	}
	l.Lose()
	l.Lose()
	if err := l.Send(t.Context(), 1); !errors.Is(err, errGone) || !errors.Is(l.Check(), errGone) {
		t.Errorf("on a lost line: %v", err)
	}
	l.Write(func(int) { t.Error("something went out") })
	ended := wire.New[int](0, errGone)
	ended.End()
	if err := ended.Send(t.Context(), 1); !errors.Is(err, errGone) {
		t.Errorf("on an ended line: %v", err)
	}
	roomy := wire.New[int](1, errGone)
	roomy.End()
	if err := roomy.Send(t.Context(), 1); !errors.Is(err, errGone) {
		t.Errorf("on an ended line with room: %v", err)
	}
}

// What waits can be taken along, in its order.
func TestNext(t *testing.T) {
	l := wire.New[int](10, errGone)
	for n := range 3 {
		if err := l.Send(t.Context(), n); err != nil {
			t.Fatal(err)
		}
	}
	for want := range 3 {
		if got, ok := l.Next(); !ok || got != want {
			t.Errorf("%d, %v, not %d", got, ok, want)
		}
	}
	if got, ok := l.Next(); ok {
		t.Errorf("%d came", got)
	}
}
