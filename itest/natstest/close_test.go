package natstest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/hand"
	"github.com/sixfold-go/sixfold/itest/leaks"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/nats"
)

func TestNothingIsLeftBehind(t *testing.T) {
	child, err := servers.StartNATSProcess(t.Context(), nil) // so that its goroutines are not here
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	p := newProxy(t, child.URL())
	before := goleak.IgnoreCurrent()
	tr, err := nats.New(p.url(), fast(nats.Options{Topics: []string{"orders"}, Nats: patient()}))
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []bus.Subscription{group("orders", true), {Topics: []string{"orders"}, Group: "other"}, {Topics: []string{"orders"}}} {
		src := hand.Subscribe(t, tr, sub)
		sender := hand.Open(t, tr)
		hand.MustSend(t, sender, hand.Messages("orders", "a/1", "b/2")...)
		hand.Receive(t, src, 2)
		p.Drop("source")
		if sub.Group == "" {
			sender.Close(t.Context()) // the others end with the transport
			src.Close(t.Context())
		}
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
	p.Cut() // what is left of the proxy's own
	leaks.None(t, before)
}

// The consumer of a copy goes with it.
func TestAClosedCopyLeavesNoConsumer(t *testing.T) {
	f := newFixture(t, nil)
	src := hand.Subscribe(t, f.connect(t, f.url, nil), bus.Subscription{Topics: []string{"orders"}})
	if err := src.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, js := f.raw(t)
	stream, err := js.Stream(t.Context(), "orders")
	if err != nil {
		t.Fatal(err)
	}
	for name := range stream.ConsumerNames(t.Context()).Name() {
		t.Errorf("consumer %s is left", name)
	}
}

// Closing is bounded by its context also when the server is silent.
func TestCloseWithASilentServer(t *testing.T) {
	f := newFixture(t, nil)
	p := newProxy(t, f.url)
	tr := f.connect(t, p.url(), fast(nats.Options{}))
	for _, ordered := range []bool{false, true} {
		var took []time.Duration
		for try := range 3 { // a busy machine is late now and then, and not each time
			src := hand.Subscribe(t, tr, bus.Subscription{Topics: []string{"orders"}, Group: fmt.Sprintf("%v-%d", ordered, try), Ordered: ordered})
			hand.MustSend(t, hand.Open(t, tr), hand.Messages("orders", "k/1")...)
			hand.Receive(t, src, 1)
			release := p.HoldDown("source")
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			began := time.Now()
			err := src.Close(ctx)
			cancel()
			took = append(took, time.Since(began))
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("ordered %v: %v", ordered, err)
			}
			release()
			if took[try] <= 3*time.Second {
				break
			}
		}
		if took[len(took)-1] > 3*time.Second { // without its context it takes 5 s
			t.Errorf("ordered %v: Close took %v", ordered, took)
		}
	}
}
