package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sixfold-go/sixfold"
)

const (
	// grace is how long a stop waits, beyond the drain limit, for handlers whose context was just cancelled.
	grace = 250 * time.Millisecond
	// closeLimit is what giving the subscription back has, when everything is settled, where less of the drain limit is left.
	closeLimit = 5 * time.Second
)

// run is one life of a Consumer on one Source.
//
// A delivery's way: the goroutine of Run receives it; the lane of its key, or any lane where it has no key, runs its handler;
// the settler acknowledges it. What failed waits in its lane, with its key, for a timer or for its dead letter.
type run struct {
	c       *Consumer
	src     Source
	lanes   []*lane
	loose   loose // without a key: for whichever lane is free
	flight  flight
	settler *settler
	fails   failures
	parker  *parker // of what waits in the database; or nil
	solo    *gate   // what may have crashed a process runs alone

	handlers context.Context // of all handlers; ends with the drain limit
	cancel   context.CancelFunc
	// parkerCtx outlives the handlers by what it takes to give their lines back.
	parkerCtx context.Context
	endParker context.CancelFunc
	stop      chan struct{} // closed when the drain begins

	working sync.WaitGroup // lanes
	burying sync.WaitGroup // dead letters on their way
	graves  atomic.Int64   // the number of these
	stuck   atomic.Int64   // of which cannot be sent now
	held    atomic.Int64   // messages that wait for their next attempt or their dead letter
	doubt   atomic.Int64   // messages whose handler failed after it was cancelled by the drain limit
	drained atomic.Bool    // the drain limit is over

	suspects, deaths, outages outage
}

func newRun(ctx context.Context, c *Consumer, src Source) *run {
	r := &run{c: c, src: src, solo: turnOf(c.o.Inbox), stop: make(chan struct{}),
		suspects: outage{c: c, what: "cannot count the attempts of redelivered messages, which wait", over: "attempts are counted again"},
		deaths:   outage{c: c, what: "cannot send dead letters; their messages stay at the broker and hold back their keys", over: "dead letters are sent again"},
		outages:  outage{c: c, what: "a handler's infrastructure is not available; its messages wait, and no attempt is counted", over: "handlers succeed again after an outage"},
	}
	r.parkerCtx, r.endParker = context.WithCancel(context.WithoutCancel(ctx))
	r.handlers, r.cancel = context.WithCancel(sixfold.WithCodecs(context.WithoutCancel(ctx), c.o.Codecs...))
	r.flight.init(c.s.MaxInFlight)
	r.settler = newSettler(r)
	r.fails = newFailures(c)
	if c.parking != nil {
		r.parker = newParker(r, c.parking)
		r.deaths.what, r.deaths.over = "cannot park messages that failed; they stay at the broker and hold back their keys", "failed messages are parked again"
	}
	r.lanes = make([]*lane, c.o.Concurrency)
	for i := range r.lanes {
		r.lanes[i] = newLane(r)
	}
	return r
}

// turnOf is the gate of suspects: the inbox's, which its consumers share, or an own one.
func turnOf(in Inbox) *gate {
	if in != nil {
		if t := in.Turn(); t != nil {
			return &t.gate
		}
	}
	return &NewTurn().gate
}

func (r *run) run(ctx context.Context) error {
	defer r.cancel()
	r.working.Add(len(r.lanes))
	for _, l := range r.lanes {
		go l.loop()
	}
	go r.settler.loop()
	if r.parker != nil {
		go r.parker.loop(r.parkerCtx)
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	maintained := r.maintain(ctx)
	err := r.receive(ctx)
	end()
	if err != nil {
		r.c.noteError(err)
	}
	return errors.Join(err, r.drain(maintained))
}

// maintain lets the inbox tidy up beside the handlers; the channel is closed when it has ended.
func (r *run) maintain(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	if r.c.o.Inbox == nil {
		close(done)
		return done
	}
	go func() {
		defer close(done)
		failing := outage{c: r.c, what: "the inbox cannot be maintained, trying again", over: "the inbox is maintained again"}
		for n := 1; ctx.Err() == nil; n++ {
			if err := r.c.o.Inbox.Maintain(ctx); err != nil && ctx.Err() == nil {
				failing.begin(err)
			}
			if !sleep(ctx, passing(n)) {
				return
			}
		}
	}()
	return done
}

// drain ends everything that run began, within the drain limit and a moment.
func (r *run) drain(maintained <-chan struct{}) error {
	r.c.enter(Draining)
	close(r.stop)
	r.parker.halt()
	limit, cancel := context.WithTimeout(context.WithoutCancel(r.handlers), r.c.o.DrainTimeout)
	defer cancel()
	r.settler.recall(limit)
	for _, it := range r.loose.stop() {
		r.settle(it, true)
	}
	for _, l := range r.lanes {
		l.stop()
	}
	idle := make(chan struct{})
	go func() {
		r.working.Wait()
		r.burying.Wait()
		close(idle)
	}()
	last := limit
	select {
	case <-idle:
	case <-limit.Done():
		r.drained.Store(true)
		r.cancel()
		var cancel context.CancelFunc
		last, cancel = context.WithTimeout(context.WithoutCancel(r.handlers), grace)
		defer cancel()
		select {
		case <-idle:
		case <-last.Done():
		}
	}
	notGivenBack := r.parker.finish(last)
	r.endParker()
	unsettled := r.settler.finish(last)
	doubt := r.running() + int(r.graves.Load()) + int(r.doubt.Load()) + unsettled
	if r.c.o.Ack == AckOnReceipt { // what was acknowledged and not handled cannot come again
		doubt = r.flight.count() + int(r.doubt.Load())
	}
	var errs []error
	if err := errors.Join(r.fails.close(last), notGivenBack); err != nil && doubt == 0 {
		errs = append(errs, err)
	}
	end, _ := limit.Deadline()
	if least := time.Now().Add(closeLimit); end.Before(least) {
		end = least
	}
	over, cancel := context.WithDeadline(context.WithoutCancel(r.handlers), end)
	defer cancel()
	if err := r.src.Close(over); err != nil && !errors.Is(err, ErrClosed) {
		errs = append(errs, fmt.Errorf("bus: close the subscription of %s: %w", r.c, err))
	}
	select {
	case <-maintained:
	case <-over.Done():
	}
	if r.parker != nil {
		select {
		case <-r.parker.done:
		case <-over.Done():
		}
	}
	if doubt > 0 {
		errs = append(errs, &sixfold.DrainError{What: r.c.String(), InDoubt: doubt, After: r.c.o.DrainTimeout})
	}
	return errors.Join(errs...)
}

// pause waits for d and reports whether the consumer goes on.
func (r *run) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.stop:
		return false
	}
}

// running counts messages that are with a handler.
func (r *run) running() int {
	n := 0
	for _, l := range r.lanes {
		n += l.busy()
	}
	return n
}

func (r *run) health(h *Health) {
	h.InFlight = r.flight.count()
	if r.parker != nil {
		h.Parked, h.Crowded = int(r.parker.waiting.Load()), r.parker.crowded()
	}
	h.Held, h.Stuck = int(r.held.Load()), int(r.stuck.Load())
	at := now()
	for _, l := range r.lanes {
		if name, since := l.oldest(); !since.IsZero() {
			if d := at.Sub(since); h.OldestType == "" || d > h.OldestFor {
				h.OldestType, h.OldestFor = name, d
			}
		}
	}
}

// settle hands an item to the settler, to be acknowledged or released. Nobody touches it afterwards.
func (r *run) settle(it *item, release bool) {
	switch {
	case it.claim != nil:
		r.parker.settled(it, release)
	case it.acked:
		r.flight.remove(it)
	case r.c.o.Ack == AckNever:
		// Stays in flight until the source is closed.
	case it.lost():
		r.flight.remove(it)
	default:
		r.settler.push(order{it: it, release: release})
	}
}
