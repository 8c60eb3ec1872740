package nats

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Whoever is told of a failure finds that the pipe has ended: nothing more is sent, and nothing that was sent behind it is
// confirmed. guarantees: R4
func TestAFailureIsToldWhenThePipeHasEnded(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	s := &sender{t: &Transport{}, prefix: "_INBOX.a."}
	for range 5000 {
		s.gone, s.cause = make(chan struct{}), nil
		p := driver.NewBatch("nats", &s.mu, 2)
		failing, behind := slot{p, 0, &route{topic: "orders"}}, slot{p, 1, &route{topic: "orders"}}
		first := s.window.Push(failing, 1)
		second := s.window.Push(behind, 1)
		p.Handed()
		refused := make(chan struct{})
		go func() {
			defer close(refused)
			s.refused(first, bus.ErrUnroutable)
		}()
		for !errors.Is(p.Wait(over)[0], bus.ErrUnroutable) { // until it is told
			runtime.Gosched()
		}
		if _, err := s.enter(t.Context(), behind, 1); err == nil {
			t.Fatal("the pipe takes another message behind one that has failed")
		}
		s.confirmed(&natsgo.Msg{Subject: s.prefix + strconv.FormatUint(second, 10), Data: []byte(`{"stream":"ORDERS","seq":2}`)})
		<-refused
		if errs := p.Wait(t.Context()); !errors.Is(errs[1], bus.ErrUnavailable) {
			t.Fatalf("behind a message that has failed: %v", errs[1])
		}
	}
}
