package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/cloudevents"
)

var _ deadWalker = (*natsBroker)(nil)

// eachDead reads messages by their numbers and deletes those that are let go. The number is their epoch, so that a message
// that was sent again, and not deleted, because the command was killed between the two, is dropped by the stream the second time.
func (b *natsBroker) eachDead(ctx context.Context, topic string, _ bool, fn func(d *deadOne) (remove, enough bool, err error)) (total uint64, err error) {
	s, subjects, err := b.stream(ctx, topic)
	if err != nil {
		return 0, err
	}
	if s == nil {
		return 0, noTopic(topic)
	}
	if total, err = b.count(ctx, s, subjects); err != nil {
		return 0, err
	}
	binding, last := cloudevents.NATS(), s.CachedInfo().State.LastSeq
	for seq := s.CachedInfo().State.FirstSeq; seq <= last; {
		limited, cancel := asked(ctx)
		m, err := s.GetMsg(limited, seq, jetstream.WithGetMsgSubject(subjects))
		cancel()
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return total, nil
		case err != nil:
			return total, b.failed("show messages of "+quote(topic), err)
		case m.Sequence > last: // of those that came since
			return total, nil
		}
		d := deadOne{epoch: int(m.Sequence), dead: deadHeaders(firstOf(m.Header))}
		d.at = fmt.Sprintf("%s/%d", m.Subject, m.Sequence)
		d.damaged = binding.Read(&d.env, firstOf(m.Header), m.Data)
		remove, enough, err := fn(&d)
		if err != nil {
			return total, err
		}
		if remove {
			limited, cancel := asked(context.WithoutCancel(ctx))
			err := s.DeleteMsg(limited, m.Sequence)
			cancel()
			if err != nil && !errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
				return total, b.failed("delete a message that was sent again", err)
			}
			if err != nil {
				return total, failedWith("the stream of "+quote(topic)+" lets nobody delete messages", "remove deny_delete from the stream; the message was sent again, and would be dropped as a repeat")
			}
		}
		if enough {
			return total, nil
		}
		seq = m.Sequence + 1
	}
	return total, nil
}
