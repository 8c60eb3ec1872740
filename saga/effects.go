package saga

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/outbox"
)

// Effects collects what a step wants done. It is written with the state when the step's function returns nil, in the same
// transaction, and forgotten when that fails. It belongs to the goroutine of that function, and is of no use after it.
type Effects struct {
	unit   *outbox.Unit
	in     *Instance // as it will be saved
	known  []string  // messages that have a step made by OnTimeout
	cancel []string  // ids of messages that wait
	log    []Effect
	ends   bool // the step ended it
	err    error
	over   bool
	// dropped: the step wants nothing to be written.
	dropped bool
}

// maxTimers is how many timers an instance may wait for: they are all in its row.
const maxTimers = 1000

// Headers of the message of a timer. They tell people whose it is, and decide nothing.
const (
	HeaderSaga       = "saga-name"
	HeaderInstance   = "saga-instance"
	HeaderGeneration = "saga-generation"
)

// Send publishes a command: m goes where the outbox's routes say. It answers the message's id, which is empty where the step
// will fail since m may not be sent.
func (fx *Effects) Send(m sixfold.Message, opts ...outbox.Option) (id string) {
	return fx.publish("send", m, opts)
}

// Publish publishes an event: m goes where the outbox's routes say. It answers the message's id, as Send does.
func (fx *Effects) Publish(m sixfold.Message, opts ...outbox.Option) (id string) {
	return fx.publish("publish", m, opts)
}

// Reply answers the message at hand: m goes where the outbox's routes say, with that message's correlation id and with its id as the
// causation. The reply address that a message states is its sender's word, so it is not used.
func (fx *Effects) Reply(m sixfold.Message, opts ...outbox.Option) (id string) {
	return fx.publish("reply", m, opts)
}

// After sets a timer: m comes to this instance's OnTimeout when d has passed, by the database's clock, as long as the instance has
// not ended and the timer was not cancelled. It answers the timer's id. It is published like other messages, under the instance's key, and sent by
// whatever schedule.Scheduler runs on the database; so it is never early, and late by as much as that one is.
func (fx *Effects) After(d time.Duration, m sixfold.Message, opts ...outbox.Option) (id string) {
	if fx.over || m == nil {
		return fx.publish("timer", m, opts)
	}
	name := m.MessageName()
	switch {
	case !fx.knows(name):
		fx.fail(fmt.Errorf("timer %s: the saga has no step for it; add one made by OnTimeout, or Send it with outbox.Delay where it is no timer", quote(name)))
		return ""
	case d < 0:
		fx.fail(fmt.Errorf("timer %s in %v: it is negative; give a positive duration", quote(name), d))
		return ""
	case !fx.room(name):
		return ""
	}
	// Behind the caller's, since they decide where the timer comes back to.
	opts = append(opts[:len(opts):len(opts)], outbox.Key(fx.in.Key), outbox.Delay(d), outbox.Header(HeaderSaga, fx.in.Saga),
		outbox.Header(HeaderInstance, fx.in.ID), outbox.Header(HeaderGeneration, strconv.Itoa(fx.in.Generation)))
	if id = fx.publish("timer", m, opts); id != "" {
		fx.log[len(fx.log)-1].After = d
		fx.in.Timers = append(fx.in.Timers, Timer{ID: id, Type: name})
	}
	return id
}

// room reports whether the instance may wait for one more.
func (fx *Effects) room(name string) bool {
	if len(fx.in.Timers) < maxTimers {
		return true
	}
	fx.fail(fmt.Errorf("timer %s: the instance waits for %d already, and no more may be set; cancel some, or send messages that another handler counts", quote(name), maxTimers))
	return false
}

// CancelTimeout cancels the timer of that id, or all timers of the message of that name. What has been sent already is dropped when
// it comes. It is no error if there is none.
func (fx *Effects) CancelTimeout(idOrName string) {
	if fx.over {
		return
	}
	fx.in.Timers = slices.DeleteFunc(slices.Clone(fx.in.Timers), func(t Timer) bool {
		if t.ID != idOrName && t.Type != idOrName {
			return false
		}
		fx.drop(t)
		return true
	})
}

func (fx *Effects) drop(t Timer) {
	fx.cancel = append(fx.cancel, t.ID)
	fx.log = append(fx.log, Effect{Kind: "cancel", Type: t.Type, ID: t.ID})
}

// Complete ends the instance as completed. Its timers are cancelled.
func (fx *Effects) Complete() { fx.become(Completed, "") }

// Fail ends the instance as failed, with a reason for people, of which up to 1 kB is kept. Its timers are cancelled. It is no
// failure of the step: state and messages take effect.
func (fx *Effects) Fail(reason string) { fx.become(Failed, reason) }

// become gives the instance another status. One that ends takes its timers with it, when the step is over.
func (fx *Effects) become(s Status, reason string) {
	switch {
	case fx.over:
	case fx.ends && s != fx.in.Status:
		fx.fail(fmt.Errorf("the step ends the instance as %v and as %v; let it decide", fx.in.Status, s))
	default:
		fx.in.Status, fx.in.Reason, fx.ends = s, line(reason, maxReason), s.Ended()
	}
}

func (fx *Effects) publish(kind string, m sixfold.Message, opts []outbox.Option) (id string) {
	if fx.over {
		return ""
	}
	if id = fx.unit.Publish(m, opts...); id != "" { // else the unit knows why
		fx.log = append(fx.log, Effect{Kind: kind, Type: m.MessageName(), ID: id})
	}
	return id
}

func (fx *Effects) fail(err error) {
	fx.err = errors.Join(fx.err, fmt.Errorf("saga: %w %w", sixfold.ErrInvalid, err))
}

// finish ends the collecting.
func (fx *Effects) finish() error {
	if fx.ends {
		for _, t := range fx.in.Timers {
			fx.drop(t)
		}
		fx.in.Timers = nil
	}
	fx.over = true
	return fx.err
}
