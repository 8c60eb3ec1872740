package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/sixfold-go/sixfold"
)

// DeadSuffix makes the name of the topic that the dead letters of a topic are sent to.
const DeadSuffix = ".dead"

// Headers of a dead letter. Everything else about it is the message as it arrived.
const (
	// DeadReason is "attempts", "permanent", "undecodable", "damaged", "too-large", "no-type", "no-handler", "expired",
	// "id-reused", "unauthorised" or "stopped"; from a relay "unroutable", "too-large", "refused" or "undecodable".
	DeadReason = "sixfold-dead-reason"
	// DeadError is the last error and all that it wraps, one line of at most 4 kB.
	DeadError = "sixfold-dead-error"
	// DeadAttempts counts the attempts.
	DeadAttempts = "sixfold-dead-attempts"
	// DeadTopic is the topic that the message came from.
	DeadTopic = "sixfold-dead-topic"
	// DeadConsumer is the group of the consumer that gave it up.
	DeadConsumer = "sixfold-dead-consumer"
)

const (
	maxDeadError   = 4 << 10
	terseDeadError = 128
	unknownType    = "sixfold.unknown"
)

// deadCopy is the dead letter of d. What was too damaged to be sent again is replaced: the id, the type.
func deadCopy(d *Delivery, o obituary) *sixfold.Envelope {
	env := d.Envelope
	limit := maxDeadError
	if o.terse {
		limit = terseDeadError
	}
	if d.Damaged != nil {
		env = sixfold.Envelope{Time: d.Time, Body: d.Body, ContentType: "application/octet-stream"}
		for _, attr := range []struct {
			to   *string
			from string
		}{{&env.ID, d.ID}, {&env.Source, d.Source}, {&env.Key, d.Key}, {&env.ContentType, d.ContentType}} {
			if attr.from != "" && len(attr.from) <= sixfold.MaxName && plainText(attr.from) {
				*attr.to = attr.from
			}
		}
		if sixfold.CheckMessageName(d.Type) == nil {
			env.Type = d.Type
		}
		if sixfold.CheckHeaders(d.Headers) == nil {
			env.Headers = d.Headers
		}
	}
	if env.ID == "" {
		env.ID = sixfold.NewID()
	}
	if env.Type == "" {
		env.Type = unknownType
	}
	headers := make(map[string]string, len(env.Headers)+5)
	maps.Copy(headers, env.Headers)
	headers[DeadReason] = o.reason
	headers[DeadError] = chainText(o.err, limit)
	headers[DeadAttempts] = strconv.Itoa(o.attempts)
	headers[DeadTopic] = d.Topic
	headers[DeadConsumer] = o.consumer
	env.Headers = headers
	return &env
}

// bury takes the item, whose key stays closed, to where failures are kept. Only when it is safe there is the message
// acknowledged.
func (l *lane) bury(it *item, v verdict) {
	r := l.r
	if r.c.o.Ack == AckNever {
		r.c.log.Warn("bus: message cannot be handled", "consumer", r.c.s.Group, "message", &it.d.Envelope, "reason", v.reason, "error", it.err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running = nil
	h := l.shut(it)
	if r.drained.Load() { // it comes again
		l.abandon(h)
		return
	}
	h.busy = true
	r.held.Add(1)
	r.graves.Add(1)
	r.burying.Add(1)
	go func() {
		defer r.burying.Done()
		defer r.held.Add(-1)
		r.funeral(h, it, v)
	}()
}

func (r *run) funeral(h *hold, it *item, v verdict) {
	policy := r.c.o.Retry
	if it.route != nil {
		policy = it.route.retry
	}
	o := obituary{consumer: r.c.s.Group, reason: v.reason, delay: v.delay, goOn: goesOn(v.reason, policy.For(it.err)), err: it.err, attempts: it.attempts}
	err := r.persist(it, &o)
	l := h.l
	switch {
	case it.lost(), it.claim != nil && errors.Is(err, ErrLost):
		if it.claim != nil {
			r.parker.drop(it.claim)
		}
		r.graves.Add(-1)
		l.reopen(h) // to be dropped
	case err == nil:
		r.deaths.end()
		r.graves.Add(-1)
		r.tell(it, v)
		if it.claim != nil {
			r.parker.drop(it.claim) // Park gave it back
		} else {
			r.settle(it, false)
		}
		l.mu.Lock()
		h.items = h.items[1:]
		l.mu.Unlock()
		l.reopen(h)
		if it.counted && r.parker == nil { // it is in no state to be forgotten where it is parked
			r.forget(it)
		}
	case !errors.Is(err, ErrInDoubt) && r.handlers.Err() == nil && !it.acked:
		r.graves.Add(-1)
		l.reopen(h) // to be released
	default:
		l.mu.Lock()
		l.abandon(h)
		l.mu.Unlock()
		l.poke()
	}
}

// tell says what became of an item.
func (r *run) tell(it *item, v verdict) {
	if v.fate == parked {
		r.c.log.Warn("bus: handler failed, trying again", "consumer", r.c.s.Group, "message", &it.d.Envelope,
			"attempt", it.attempts, "retry_in", v.delay, "error", it.err)
		if r.c.o.Hooks.Parked != nil {
			r.c.o.Hooks.Parked(it.d, it.attempts, v.delay, it.err)
		}
		r.parker.expect(v.delay)
		return
	}
	where := it.d.Topic + DeadSuffix
	if r.parker != nil {
		where = "database"
	}
	r.c.log.Error("bus: message became a dead letter", "consumer", r.c.s.Group, "message", &it.d.Envelope, "where", where,
		"reason", v.reason, "attempts", it.attempts, "error", it.err)
	if r.c.o.Hooks.Dead != nil {
		r.c.o.Hooks.Dead(it.d, v.reason, it.err)
	}
}

// persist tries until it is kept, or the consumer stops.
func (r *run) persist(it *item, o *obituary) error {
	for n := 1; ; n++ {
		err := r.fails.keep(r.handlers, it.d, *o)
		if err == nil || errors.Is(err, ErrLost) {
			return err
		}
		if n == 1 {
			r.stuck.Add(1)
			defer r.stuck.Add(-1)
		}
		o.terse = o.terse || errors.Is(err, ErrTooLarge)
		r.deaths.begin(err)
		if !r.pause(passing(n)) || it.lost() {
			return err
		}
	}
}

// forget drops the counted attempts of a message: of a dead letter, so that a redriven copy begins anew, and of a run that
// ended with the process alive and by nobody's fault. The retention of the inbox sees to those that it misses.
func (r *run) forget(it *item) bool {
	limit := forgetFor
	if r.drained.Load() {
		limit = grace
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.handlers), limit)
	defer cancel()
	if err := r.c.o.Inbox.Forget(ctx, r.c.s.Group, []*Delivery{it.d}); err != nil {
		r.c.noteError(fmt.Errorf("bus: forget the attempts of a message: %w", err))
		return false
	}
	return true
}

// forgetFor bounds forget: a lease is lost when the database is slow, and that is when an attempt must be taken back.
const forgetFor = 10 * time.Second

// abandon leaves what h holds to the source, which gives it back when it is closed. The lane is locked.
func (l *lane) abandon(h *hold) {
	h.gone = true
	delete(l.holds, h)
	if h.at.key != "" {
		delete(l.closed, h.at)
	}
}
