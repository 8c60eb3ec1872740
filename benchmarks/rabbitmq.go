package main

import (
	"context"
	"errors"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
	"github.com/sixfold-go/sixfold/itest/servers"
	"github.com/sixfold-go/sixfold/transport/rabbitmq"
)

const (
	rabbitQueue = group + "@" + topic
	// orderedQueue is beside it, since the queue of an ordered group is of another kind.
	orderedQueue = rabbitQueue + "-ordered"
)

// relayRabbitMQ drains rows that were committed before the relay starts, as relayDrain does. The node is the case's own.
func relayRabbitMQ(ctx context.Context, s *scope) error {
	b, _, err := s.newRabbitBroker(ctx)
	if err != nil {
		return err
	}
	return s.relayBesideClient(ctx, b, goal{ratioAtLeast, 0.90, 0.95}, func(ctx context.Context, t *tables, n int) error {
		return t.fill(ctx, t.box, n, noKeys)
	})
}

// newRabbitBroker connects the raw client.
func (s *scope) newRabbitBroker(ctx context.Context) (*broker, *rawRabbitMQ, error) {
	node, err := servers.StartRabbitMQ(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	s.atEnd(node.Close)
	conn, err := amqp.Dial(node.URL())
	if err != nil {
		return nil, nil, fmt.Errorf("connect to RabbitMQ: %w", err)
	}
	s.atEnd(conn.Close)
	c := &rawRabbitMQ{conn: conn, queue: rabbitQueue, binding: cloudevents.AMQP()}
	options := &rabbitmq.Options{Queue: func(_, _ string, q *rabbitmq.Queue) {
		if q.SingleActive {
			q.Name = orderedQueue
		}
	}}
	b := &broker{name: "rabbitmq", judged: true, fresh: c.fresh, publish: c.publish,
		open: func(context.Context) (bus.Transport, error) { return rabbitmq.New(node.URL(), options) }}
	return b, c, nil
}

// rawRabbitMQ is the raw client at its best.
type rawRabbitMQ struct {
	conn    *amqp.Connection
	queue   string // that gets what is published
	binding *cloudevents.Binding
}

// on runs f on a channel of its own.
func (c *rawRabbitMQ) on(f func(ch *amqp.Channel) error) error {
	ch, err := c.conn.Channel()
	if err != nil {
		return fmt.Errorf("open a channel: %w", err)
	}
	return errors.Join(f(ch), ch.Close())
}

// fresh makes what the driver would make.
func (c *rawRabbitMQ) fresh(context.Context) error {
	return c.on(func(ch *amqp.Channel) error {
		if err := ch.ExchangeDelete(topic, false, false); err != nil {
			return fmt.Errorf("delete the exchange: %w", err)
		}
		if err := ch.ExchangeDeclare(topic, "fanout", true, false, false, false, nil); err != nil {
			return fmt.Errorf("declare the exchange: %w", err)
		}
		for _, q := range []string{rabbitQueue, orderedQueue} {
			if _, err := ch.QueueDelete(q, false, false, false); err != nil {
				return fmt.Errorf("delete the queue: %w", err)
			}
		}
		args := amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int64(1_000_000)}
		if c.queue == orderedQueue {
			args["x-single-active-consumer"] = true
		}
		_, err := ch.QueueDeclare(c.queue, true, false, false, false, args)
		if err == nil {
			err = ch.QueueBind(c.queue, "#", topic, false, nil)
		}
		if err != nil {
			return fmt.Errorf("declare the queue: %w", err)
		}
		return nil
	})
}

// publish sends the same messages as the driver, with as many unconfirmed as that has: the headers of CloudEvents' binary
// mode, the native properties, and the body.
func (c *rawRabbitMQ) publish(ctx context.Context, envs []*sixfold.Envelope) error {
	return c.on(func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return fmt.Errorf("confirm: %w", err)
		}
		confirms := ch.NotifyPublish(make(chan amqp.Confirmation, asyncMax))
		open := 0
		confirmed := func() error {
			select {
			case c, ok := <-confirms:
				if !ok || !c.Ack {
					return errors.New("the node did not confirm a message")
				}
				open--
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		var headers []cloudevents.Header
		table := amqp.Table{}
		for _, env := range envs {
			var err error
			if headers, err = c.binding.AppendHeaders(headers[:0], env); err != nil {
				return err
			}
			clear(table)
			msg := amqp.Publishing{Headers: table, DeliveryMode: amqp.Persistent, MessageId: env.ID, CorrelationId: env.CorrelationID, Type: env.Type, Timestamp: env.Time, Body: env.Body}
			for _, h := range headers {
				if h.Name == "content-type" {
					msg.ContentType = h.Value
				} else {
					table[h.Name] = h.Value
				}
			}
			if err := ch.PublishWithContext(ctx, topic, env.Type, true, false, msg); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
			for open++; len(confirms) > 0 || open >= asyncMax; {
				if err := confirmed(); err != nil {
					return err
				}
			}
		}
		for open > 0 {
			if err := confirmed(); err != nil {
				return err
			}
		}
		return nil
	})
}

// receive takes n messages and acknowledges all up to the last of each batch.
func (c *rawRabbitMQ) receive(ctx context.Context, n int, w *watch) error {
	return c.on(func(ch *amqp.Channel) error {
		const ackEvery = 100
		if err := ch.Qos(2*batchSize, 0, false); err != nil {
			return fmt.Errorf("prefetch: %w", err)
		}
		in, err := ch.ConsumeWithContext(ctx, c.queue, "", false, false, false, false, nil)
		if err != nil {
			return fmt.Errorf("consume: %w", err)
		}
		for i := 1; i <= n; i++ {
			d, ok := <-in
			if !ok {
				return errors.Join(errors.New("the node ended the consumer"), ctx.Err())
			}
			if i%ackEvery == 0 || i == n {
				if err := d.Ack(true); err != nil {
					return fmt.Errorf("acknowledge: %w", err)
				}
			}
			w.handled()
		}
		return nil
	})
}
