package rabbitmq

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
)

// route answers nil if a topic has an exchange, bus.ErrUnroutable if not, bus.ErrRefused if its name is illegal.
// Publishing to an exchange that is not there would cost everything in flight.
func (t *Transport) route(ctx context.Context, topic string) error {
	_, err := t.routes.Find(ctx, topic, func(ctx context.Context, topic string) (exists struct{}, err error) {
		if err := checkTopic(topic); err != nil {
			return exists, fmt.Errorf("%w: %w", bus.ErrRefused, err)
		}
		return exists, classify(t.manage(ctx, func(l *link) error {
			return l.on(func(ch *amqp.Channel) error {
				return ch.ExchangeDeclarePassive(topic, "fanout", true, false, false, false, nil)
			})
		}))
	})
	return err
}
