package servers_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/itest/servers"
)

func TestRabbitMQKeepsPortAndMessagesWhenKilled(t *testing.T) {
	r := servers.PrivateRabbitMQ(t, nil)
	address, pid := r.URL(), r.Pid()
	channel := func() *amqp.Channel {
		conn, err := amqp.Dial(address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		ch, err := conn.Channel()
		if err == nil {
			// A classic one: RabbitMQ 3.10 forgets a quorum queue that was made less than half a second before the kill.
			_, err = ch.QueueDeclare("q", true, false, false, false, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		return ch
	}
	ch := channel()
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	c, err := ch.PublishWithDeferredConfirm("", "q", true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("body")})
	if err != nil || !c.Wait() {
		t.Fatal("not confirmed", err)
	}
	if err := r.Kill(); err != nil {
		t.Fatal(err)
	}
	if alive(pid) || r.Pid() != 0 {
		t.Fatalf("process %d is left", pid)
	}
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.URL() != address {
		t.Error("the address is another one after a restart")
	}
	ch = channel()
	eventually(t, "the message is there again", func() bool {
		d, ok, err := ch.Get("q", true)
		if err != nil {
			t.Fatal(err)
		}
		return ok && string(d.Body) == "body"
	})
	if err := r.CloseConnections(t.Context()); err != nil {
		t.Error(err)
	}
}
