package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/internal/dataref"
)

// verdict is what follows an attempt.
type verdict struct {
	fate   fate
	delay  time.Duration // of again and parked
	reason string        // of dead; the item's err says more
}

type fate int

const (
	done     fate = iota // acknowledge
	released             // give back, no attempt counted
	again                // another attempt after delay, here
	parked               // another attempt after delay, by way of the database
	dead                 // a dead letter
)

// Reasons of dead letters, as they stand in their headers.
const (
	tooOften     = "attempts"
	permanently  = "permanent"
	undecodable  = "undecodable"
	damaged      = "damaged"
	tooLarge     = "too-large"
	noType       = "no-type"
	noHandler    = "no-handler"
	expired      = "expired"
	stopped      = "stopped"
	reused       = "id-reused"
	unauthorised = "unauthorised"
)

var (
	errExited    = errors.New("bus: the handler ended its goroutine (runtime.Goexit); return an error instead")
	errNoType    = errors.New("bus: the message has no type, so no handler can be found")
	errUnclaimed = errors.New("bus: the body lies in a blob store, and the message has a reference to it only; wrap the consumer's transport with claimcheck.Wrap")
	errStopped   = errors.New("bus: the consumer stopped, and the message was acknowledged on receipt")
)

// classify finds the route of an item, or why it has none, before its first attempt.
func (r *run) classify(it *item) {
	d := it.d
	it.judged = true
	refuse := func(reason string, err error) { it.refusal, it.err = reason, err }
	switch {
	case d.Damaged != nil:
		refuse(damaged, d.Damaged)
		return
	case len(d.Body) == 0 && d.Headers[dataref.Check] != "": // or a handler would take it for a message without content
		refuse(damaged, errUnclaimed)
		return
	case r.c.o.MaxBody > 0 && len(d.Body) > r.c.o.MaxBody:
		refuse(tooLarge, fmt.Errorf("bus: the body has %d bytes, the consumer's MaxBody is %d", len(d.Body), r.c.o.MaxBody))
		return
	case d.Type == "":
		refuse(noType, errNoType)
		return
	}
	if err := r.accept(it); err != nil {
		refuse(unauthorised, err)
		return
	}
	if it.route = r.c.routes[d.Type]; it.route == nil {
		it.route = r.c.rest
	}
	if it.route == nil {
		refuse(noHandler, fmt.Errorf("bus: consumer %q has no handler for messages called %s; add a route, or sixfold.Raw for all others", r.c.s.Group, short(d.Type)))
		return
	}
	switch {
	case it.claim != nil:
		it.suspect = it.crashed
	case d.Claims != nil:
		it.suspect = d.Attempts > 0
	default:
		it.suspect = d.Redelivered && r.c.o.Inbox != nil
	}
}

// late reports whether nobody wants the message any more. Who reads dead letters wants them all the same.
func late(d *Delivery) bool {
	return !d.Expires.IsZero() && now().After(d.Expires) && !strings.HasSuffix(d.Topic, DeadSuffix)
}

// attempt runs the handler of an item and says what follows.
func (r *run) attempt(it *item) verdict {
	if it.refusal == "" && late(it.d) {
		it.refusal, it.err = expired, fmt.Errorf("bus: the message expired at %v", it.d.Expires.UTC().Format(time.RFC3339))
	}
	if it.refusal != "" {
		return verdict{fate: dead, reason: it.refusal}
	}
	if it.suspect && !it.paid {
		count := r.count
		if it.claim != nil {
			count = r.begin
		}
		if v, run := count(it); !run {
			return v
		}
	}
	h := &it.handling
	if h.r != nil { // of an earlier attempt, which may have kept its context
		h = new(handling)
	}
	h.one[0] = it.d
	h.begin(r, h.one[:], it.attempts+1)
	err := r.call(h, it)
	v := r.judge(it, err)
	passed := v.fate == again && it.paid // it waits for an outage to end, and other suspects run meanwhile
	if it.counted && (passed || v.fate == released || v.fate == done && (it.lost() || it.d.Claims != nil)) {
		// Passed, released or lost: its run ended alive and by nobody's fault. Handled by a claim: its record is the row
		// that is gone.
		if r.forget(it) {
			it.counted, it.paid = false, false
		}
	}
	return v
}

// count enters one more attempt of a suspect durably, before it runs. run is false when it must not run. Without an
// inbox the source's own count must do, which holds every row that a dead owner had in its hands to be begun.
func (r *run) count(it *item) (v verdict, run bool) {
	if r.c.o.Inbox != nil {
		ctx, cancel := context.WithTimeout(r.handlers, r.c.o.HandlerTimeout)
		defer cancel()
		ns, err := r.c.o.Inbox.Suspect(ctx, r.c.s.Group, []*Delivery{it.d})
		if err == nil && len(ns) != 1 {
			err = fmt.Errorf("bus: the inbox answered %d counts for one message", len(ns))
		}
		switch {
		case it.lost():
			if err == nil {
				r.forget(it) // it was counted and did not run
			}
			return verdict{fate: done}, false
		case err != nil:
			r.suspects.begin(err)
			return r.wait(it, err), false
		case ns[0] == 0:
			r.suspects.end()
			return verdict{fate: done}, false
		}
		r.suspects.end()
		it.counted, it.paid = true, true
		it.attempts = ns[0] - 1
	}
	return r.mayRun(it)
}

// begin is count for a suspect that was parked.
func (r *run) begin(it *item) (v verdict, run bool) {
	if v, run := r.mayRun(it); !run {
		return v, false
	}
	ctx, cancel := context.WithTimeout(r.handlers, r.c.o.HandlerTimeout)
	defer cancel()
	ours, err := r.c.parking.Begin(ctx, it.claim.p, r.c.o.ParkingLease)
	switch {
	case err != nil:
		r.suspects.begin(err)
		return r.wait(it, err), false
	case !ours:
		r.parker.drop(it.claim)
		return verdict{fate: done}, false
	}
	r.suspects.end()
	it.claim.p.Begun = true
	it.paid = true
	return v, true
}

// mayRun refuses what was begun as often as may be and did not come to an end.
func (r *run) mayRun(it *item) (v verdict, run bool) {
	if it.attempts >= it.route.retry.For(nil).MaxAttempts {
		it.err = fmt.Errorf("bus: %d attempts were begun and the last one did not come to an end: it may have crashed the process", it.attempts)
		return verdict{fate: dead, reason: tooOften}, false
	}
	return v, true
}

// judge says what follows an attempt that ended with err.
func (r *run) judge(it *item, err error) verdict {
	switch {
	case it.lost():
		return verdict{fate: done} // which settles nothing
	case err == nil:
		r.outages.end()
		return verdict{fate: done}
	case errors.Is(err, ErrLost): // the handler found out first
		return verdict{fate: released}
	case r.drained.Load():
		r.doubt.Add(1)
		return verdict{fate: released}
	}
	it.err = err
	r.c.noteError(err)
	switch {
	case r.c.o.Ack == AckNever:
		r.c.log.Warn("bus: handler failed", "consumer", r.c.s.Group, "message", &it.d.Envelope, "error", err)
		return verdict{fate: done}
	case errors.Is(err, sixfold.ErrUndecodable): // which no handler saw
		return verdict{fate: dead, reason: undecodable}
	case errors.Is(err, ErrUnavailable) && !sixfold.IsPermanent(err):
		r.outages.begin(err)
		return r.wait(it, err)
	}
	it.passes, it.paid = 0, false
	it.attempts++
	switch {
	case errors.Is(err, ErrIDReuse):
		return verdict{fate: dead, reason: reused}
	case sixfold.IsPermanent(err):
		return verdict{fate: dead, reason: permanently}
	}
	policy := it.route.retry.For(err)
	if it.attempts >= policy.MaxAttempts {
		return verdict{fate: dead, reason: tooOften}
	}
	delay := policy.Delay(it.attempts)
	if d, ok := sixfold.RetryDelay(err); ok {
		delay = max(delay, d)
	}
	if r.parker != nil {
		return verdict{fate: parked, delay: delay}
	}
	r.c.log.Warn("bus: handler failed, trying again", "consumer", r.c.s.Group, "message", &it.d.Envelope,
		"attempt", it.attempts, "retry_in", delay, "error", err)
	return verdict{fate: again, delay: delay}
}

// wait is the verdict on what failed by nobody's fault: again, as often as it takes.
func (r *run) wait(it *item, err error) verdict {
	if r.drained.Load() {
		return verdict{fate: released}
	}
	select {
	case <-r.stop:
		if it.acked { // it cannot be given back
			it.err = fmt.Errorf("%w: %w", errStopped, err)
			return verdict{fate: dead, reason: stopped}
		}
	default:
	}
	it.passes++
	delay := passing(it.passes)
	if d, ok := sixfold.RetryDelay(err); ok {
		delay = max(delay, d)
	}
	return verdict{fate: again, delay: delay}
}
