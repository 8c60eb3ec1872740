package rabbittest

import (
	"context"
	"errors"
	"testing"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/itest/cut"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

// However much the node has said when the connection goes away, what was asked of it answers that it is an outage, and nothing
// else, so that who asked tries again. guarantees: K1
func TestCutAnywhereIsAnOutage(t *testing.T) {
	f := newFixture(t)
	topic := f.prefix + "-cut"
	cut.Anywhere(t, f.url, 150, func(way string) error {
		transport, err := rabbitmq.New(way, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer transport.Close(context.Background())
		source, err := transport.Subscribe(t.Context(), bus.Subscription{Topics: []string{topic}, Group: "g", Ordered: true})
		if err != nil {
			return err
		}
		return errors.Join(transport.Declare(t.Context(), topic, topic+"-2"), source.Close(t.Context()))
	}, func(err error) bool { return errors.Is(err, bus.ErrUnavailable) })
}
