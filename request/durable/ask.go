package durable

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
	"github.com/sixfold-go/sixfold/sqltx"
)

// Ask publishes m, a command or a query, in tx and answers the id of the request, which its outcome will have. It goes to
// where the routes of the outbox say, and is asked if and only if tx commits.
//
// When within has passed before a reply was handled, the handler is told so, once, with ErrDeadline, and a request that has not
// been begun by then is not run any more. The reply may still come after that. within 0 is no deadline. Options that give
// the message an id make a repeat of the transaction safe, as with Publish: it is outbox.ErrDuplicateMessage then.
func (s *Service[X]) Ask(ctx context.Context, tx sqltx.Tx, m sixfold.Message, within time.Duration, opts ...outbox.Option) (id string, err error) {
	switch err := s.checkAsk(m, within); {
	case err != nil:
		return "", err
	case within > 0 && s.o.Scheduler == nil:
		return "", invalid("ask %.64q: nobody would tell of the deadline; set Options.Scheduler, or give 0 for none", m.MessageName())
	}
	own := append(opts[:len(opts):len(opts)], outbox.ReplyTo(s.o.ReplyTo))
	if within > 0 {
		own = append(own, outbox.Expires(within))
	}
	if id, err = s.ob.Publish(ctx, tx, m, own...); err != nil || within == 0 {
		return id, err
	}
	over := verdict{name: m.MessageName() + deadlineSuffix, Request: id}
	_, err = s.ob.Publish(ctx, tx, over, outbox.Topic(s.o.ReplyTo), outbox.Delay(within), outbox.DerivedID(deadlineID(id)))
	if err != nil {
		return "", fmt.Errorf("durable: set the deadline of %.64q: %w", m.MessageName(), err)
	}
	return id, nil
}

func (s *Service[X]) checkAsk(m sixfold.Message, within time.Duration) error {
	switch {
	case m == nil || !sixfold.HasResult(m):
		return invalid("ask %T: it is no command and no query; embed sixfold.Returns, or publish it", m)
	case s.o.ReplyTo == "":
		return invalid("ask %.64q: there is no topic for the reply; set Options.ReplyTo", m.MessageName())
	case within < 0:
		return invalid("ask %.64q: the deadline is in %v; give a positive duration, or 0 for none", m.MessageName(), within)
	}
	return nil
}

// deadlineID is the id of the message that tells of a request's deadline, so that who handles the reply knows it: a UUID of version 8
// (RFC 9562, section 5.8) made of SHA-256.
func deadlineID(request string) string {
	sum := sha256.Sum256([]byte("sixfold.deadline\x00" + request))
	u := sum[:16]
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	h := hex.EncodeToString(u)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
