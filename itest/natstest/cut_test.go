package natstest

import (
	"context"
	"errors"
	"testing"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/cut"
	"github.com/sixfold-go/sixfold/transport/nats"
)

// However much the server has said when the connection goes away, what was asked of it answers that it is an outage, and nothing
// else, so that who asked tries again. guarantees: K1
func TestCutAnywhereIsAnOutage(t *testing.T) {
	f := newFixture(t, nil)
	cut.Anywhere(t, f.url, 120, func(way string) error {
		transport, err := nats.New(way, fast(nats.Options{Nats: patient()}))
		if err != nil {
			t.Fatal(err)
		}
		defer transport.Close(context.Background())
		sender, err := transport.Open(t.Context())
		if err != nil {
			return err
		}
		source, err := transport.Subscribe(t.Context(), bus.Subscription{Topics: []string{"cut"}, Group: "g", Ordered: true})
		if err != nil {
			return errors.Join(err, sender.Close(t.Context()))
		}
		return errors.Join(transport.Declare(t.Context(), "cut", "cut-2"), source.Close(t.Context()), sender.Close(t.Context()))
	}, func(err error) bool { return errors.Is(err, bus.ErrUnavailable) })
}
