package rabbitmq

import (
	"context"
	"testing"
	"testing/synctest"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/cloudevents"
)

// A run waits for what the node has sent before a mark, however long the client's goroutines sit on it.
// guarantees: K2
func TestAMarkWaitsForWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, ses := newBareSource(100, nil)
		s.kind, s.binding, s.feeds[0].fresh = single, cloudevents.AMQP(), true
		ses.caught, ses.closes = make(chan struct{}, 1), make(chan *amqp.Error, 1)
		ses.owned, ses.lose = context.WithCancel(t.Context())
		defer ses.lose()
		in := make(chan amqp.Delivery)
		ses.wg.Go(func() { ses.arrive(s.feeds[0], in) })
		arrive := func(tag uint64) {
			in <- amqp.Delivery{DeliveryTag: tag, Redelivered: true}
			synctest.Wait()
		}
		await := func(mark uint64) (over chan struct{}) {
			over = make(chan struct{})
			go func() {
				ses.await(mark)
				close(over)
			}()
			synctest.Wait()
			return over
		}
		isOver := func(over chan struct{}) bool {
			synctest.Wait()
			select {
			case <-over:
				return true
			default:
				return false
			}
		}
		arrive(1)
		arrive(2)
		over := await(4)
		if isOver(over) {
			t.Error("it did not wait for the third")
		}
		arrive(3)
		if !isOver(over) {
			t.Error("it goes on waiting")
		}
		for tag := range uint64(3) {
			ses.tags.settle(1 + tag)
		}
		if acks := ses.tags.raise(nil); len(acks) != 1 || acks[0].tag != 3 || ses.tags.first != 5 {
			t.Errorf("acknowledged %v, open from %d; the mark holds it up", acks, ses.tags.first)
		}
		arrive(5)
		over = await(7) // one mark among the six before
		if isOver(over) {
			t.Error("it took the first mark for an arrival")
		}
		arrive(6)
		if !isOver(over) {
			t.Error("it goes on waiting for the first mark")
		}
		over = await(9)
		ses.closes <- amqp.ErrClosed
		if !isOver(over) {
			t.Error("it waits for a channel that is over")
		}
		close(in)
		ses.wg.Wait()
	})
}
