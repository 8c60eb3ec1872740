package rabbitmq

import (
	"errors"
	"net"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// What the node takes behind a message that it refuses is not confirmed, nor behind one that may have been returned. Whoever is
// told of the failure finds that the pipe has ended.
// guarantees: R4
func TestNothingIsConfirmedBehindANack(t *testing.T) {
	const n = 100
	for _, c := range []struct {
		name  string
		first slot
		ack   bool
	}{
		{"a nack", slot{key: "k"}, false},
		{"in doubt", slot{key: "k", doubt: true}, true},
	} {
		for range 20 {
			raw, node := net.Pipe()
			node.Close()
			conn, err := amqp.Open(raw, amqp.Config{})
			if err == nil {
				t.Fatal("there is a connection to nobody")
			}
			s := &sender{t: &Transport{}, link: &link{conn: conn, raw: raw}, gone: make(chan struct{}), done: make(chan struct{}), watchdog: time.NewTimer(time.Hour),
				proven: make(map[string]struct{}), confirms: make(chan amqp.Confirmation, n), closes: make(chan *amqp.Error)}
			s.window.Start(1)
			close(s.closes)
			first, behind := driver.NewBatch("rabbitmq", &s.mu, 1), driver.NewBatch("rabbitmq", &s.mu, n-1)
			c.first.p = first
			s.window.Push(c.first, 1)
			s.confirms <- amqp.Confirmation{DeliveryTag: 1, Ack: c.ack}
			for i := range n - 1 {
				s.confirms <- amqp.Confirmation{DeliveryTag: s.window.Push(slot{p: behind, i: i, key: "k"}, 1), Ack: true}
			}
			first.Handed()
			behind.Handed()
			go s.listen()
			if errs := first.Wait(t.Context()); !errors.Is(errs[0], bus.ErrUnavailable) {
				t.Fatalf("%s: %v", c.name, errs[0])
			}
			if err := s.enter(t.Context(), slot{p: behind, key: "l"}); err == nil {
				t.Fatalf("%s: the pipe takes another message", c.name)
			}
			for i, err := range behind.Wait(t.Context()) {
				if !errors.Is(err, bus.ErrUnavailable) {
					t.Fatalf("%s: message %d behind it: %v", c.name, i+1, err)
				}
			}
			close(s.confirms)
			<-s.done
		}
	}
}
