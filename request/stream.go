package request

import (
	"context"
	"errors"
	"iter"

	"github.com/sixfold-go/sixfold"
)

// defaultWindow is how many items of a stream may be on their way, or wait to be read.
const defaultWindow = 64

// Window bounds how many items of a stream may be on their way or wait to be read: as many as the caller holds at once. When half of
// them are read, it asks for more. 1 to 65,536; else 64. It is for Stream.
func Window(items int) Option {
	const most = 1 << 16
	return func(c *call) {
		if items < 1 || items > most {
			c.err = errors.Join(c.err, invalid("option Window: it is %d; give 1 to %d, or leave it out for %d", items, most, defaultWindow))
		}
		c.window = items
	}
}

// Stream asks the responder of q's name for a stream: what its handler yields comes here, in that order. Nothing is sent before it is
// ranged over, and each ranging asks anew. The responder is a route made with OnStream, or a mediator's streaming query.
//
// The handler waits in its yield while Window items are on their way or not read. Who leaves the loop ends the handler: its yield answers false and
// its context ends, where it is reached. One deadline, that of ctx or the client's default Timeout, is over the whole stream: give a long one
// a long deadline. A responder that has died is noticed within ClientOptions.Silence, or at the next word to it where the lane sees that nobody
// listens any more; a caller that has died after a minute.
//
// A stream has exactly one end. When the handler has yielded all, the loop just ends; any other end comes as the last pair, with the zero T:
// a *Fault; ErrTimeout or ErrCancelled by ctx; ErrLost where the connection, the responder or an item was lost; ErrDecode; and
// those that say that nothing began, as Send has them. No item is left out, comes twice, or comes after the end.
func Stream[Q sixfold.Query[iter.Seq2[T, error]], T any](ctx context.Context, client *Client, q Q, opts ...Option) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if client == nil {
			yield(none, invalid("stream %T: the client is nil; make one with request.NewClient, and look at its error", q))
			return
		}
		left := false
		f, err := client.flow(ctx, q, false, opts, func(_ *flow, p *Packet) (bool, error) {
			var item T
			if err := client.decode(p, &item); err != nil {
				return false, err
			}
			left = !yield(item, nil)
			return !left, nil
		})
		if err == nil || left {
			return
		}
		if fault := (*Fault)(nil); !errors.As(err, &fault) {
			err = about(f.name, f.to, err)
		}
		yield(none, err)
	}
}
