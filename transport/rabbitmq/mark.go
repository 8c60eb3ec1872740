package rabbitmq

import (
	"errors"

	amqp "github.com/rabbitmq/amqp091-go"
)

// A mark is a message of our own, fetched on the channel of the consumers. The node numbers what it sends on a channel, so
// the mark's number says how much it has sent before: when all that has arrived, nothing of it is left in the goroutines
// of the client's, which say nothing.

var errNoMark = errors.New("the node has no mark")

// mark fetches one and answers its tag, or 0 where this user may not have a queue of his own. An error ends the session.
func (ses *session) mark() (tag uint64, err error) {
	var lost error
	err = ses.link.asking(ses.owned, func() error {
		return ses.link.on(func(aside *amqp.Channel) error {
			q, err := aside.QueueDeclare("", false, true, true, false, amqp.Table{"x-queue-type": "classic"})
			if err != nil {
				return err
			}
			for range 2 {
				if err := aside.PublishWithContext(ses.owned, "", q.Name, false, false, amqp.Publishing{}); err != nil {
					return err
				}
			}
			// The first one shows whether that is allowed: a refusal closes the channel.
			if _, ok, err := aside.Get(q.Name, true); err != nil || !ok {
				return errors.Join(err, errNoMark)
			}
			d, ok, err := ses.ch.Get(q.Name, true)
			switch {
			case err != nil:
				lost = errors.Join(errors.New("the node did not answer a mark"), err)
			case ok:
				tag = d.DeliveryTag
			}
			_, err = aside.QueueDelete(q.Name, false, false, false)
			return err
		})
	})
	if lost == nil && ses.ch.IsClosed() {
		lost = err
	}
	return tag, lost
}

// await returns when everything has arrived that the node sent before the mark with that tag, or the session is over. It
// runs in the goroutine of the source.
func (ses *session) await(tag uint64) {
	s := ses.s
	s.mu.Lock()
	ses.tags.skip(tag)
	ses.need = tag - 1 - ses.marks
	ses.marks++
	over := ses.came >= ses.need
	s.mu.Unlock()
	for !over {
		select {
		case <-ses.caught:
		case err := <-ses.closes:
			ses.broken(err)
			return
		case <-ses.lost:
			return
		case <-s.gone:
			return
		}
		s.mu.Lock()
		over = ses.came >= ses.need
		s.mu.Unlock()
	}
	s.mu.Lock()
	ses.need = 0
	s.mu.Unlock()
}
