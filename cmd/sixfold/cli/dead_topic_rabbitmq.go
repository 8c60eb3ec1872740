package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/cloudevents"
)

var _ deadWalker = (*rabbitBroker)(nil)

// eachDead fetches messages from the queue and acknowledges those that are let go; the node puts the others back when the channel ends.
func (b *rabbitBroker) eachDead(ctx context.Context, name string, _ bool, fn func(d *deadOne) (remove, enough bool, err error)) (total uint64, err error) {
	q, err := b.queue(ctx, name)
	// A quorum queue counts whoever has just fetched from it as a consumer, until it has noticed that the channel is gone.
	for until := time.Now().Add(forgetsAfter); err == nil && q.Consumers > 0 && time.Now().Before(until); {
		if err = pauseUntil(ctx, time.Now().Add(50*time.Millisecond)); err == nil {
			q, err = b.queue(ctx, name)
		}
	}
	switch {
	case err != nil:
		return 0, err
	case q.Consumers > 0:
		return 0, refused(fmt.Sprintf("queue %s has %d consumers, and messages that are fetched beside them come back out of order", quote(name), q.Consumers), "stop its group, then try again")
	}
	binding := cloudevents.AMQP()
	var stopped error
	_, err = b.on("show messages of "+quote(name), func(ch *amqp.Channel) error {
		for range q.Messages { // those that come meanwhile are for the next time
			m, ok, err := ch.Get(name, false)
			if err != nil || !ok {
				return err
			}
			headers := func(yield func(string, string) bool) {
				if m.ContentType != "" && !yield("content-type", m.ContentType) {
					return
				}
				for k, v := range m.Headers {
					if s, ok := v.(string); ok && !strings.HasPrefix(k, "x-") && !yield(k, s) {
						return
					}
				}
			}
			d := deadOne{epoch: 1, dead: deadHeaders(headers)}
			d.at = fmt.Sprintf("%s/%d", name, m.DeliveryTag)
			d.damaged = binding.Read(&d.env, headers, m.Body)
			remove, enough, err := fn(&d)
			if remove && err == nil {
				err = m.Ack(false)
			}
			if err != nil {
				stopped = err
				return nil
			}
			if enough {
				return nil
			}
		}
		return nil
	})
	if err == nil {
		err = stopped
	}
	return uint64(q.Messages), err
}
