package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
)

// handling is one call of a handler, and the context below which it runs. It ends at HandlerTimeout, when a delivery
// is no longer ours, at the end of the drain limit, and when the handler has returned. The timer and the rest of a
// real context are made when somebody asks for Done: a handler that never does costs nothing.
type handling struct {
	r       *run
	ds      []*Delivery
	one     [1]*Delivery
	started time.Time
	info    sixfold.Info

	mu    sync.Mutex
	inner context.Context // or nil
	end   context.CancelFunc
	stops []func() bool
	over  bool
}

func (h *handling) begin(r *run, ds []*Delivery, attempt int) {
	h.r, h.ds, h.started = r, ds, now()
	d := ds[0]
	h.info = sixfold.Info{Envelope: &d.Envelope, Topic: d.Topic, Consumer: r.c.s.Group, Attempt: attempt, Redelivered: d.Redelivered}
}

// Deadline is when HandlerTimeout ends.
func (h *handling) Deadline() (time.Time, bool) {
	return h.started.Add(h.r.c.o.HandlerTimeout), true
}

// Done makes the context real.
func (h *handling) Done() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.real().Done()
}

// Err makes the context real only if it has ended.
func (h *handling) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.inner == nil && !h.over && h.r.handlers.Err() == nil && !h.anyLost() && now().Before(h.started.Add(h.r.c.o.HandlerTimeout)) {
		return nil
	}
	return h.real().Err()
}

// Value answers the deliveries, and what the context of Run knows. Contexts made from this one find the real one
// here too (package context asks for it by a key of its own), which spares them a goroutine.
func (h *handling) Value(key any) any {
	if _, ok := key.(deliveriesKey); ok {
		return h.ds
	}
	h.mu.Lock()
	parent := h.inner
	h.mu.Unlock()
	if parent == nil {
		parent = h.r.handlers
	}
	return parent.Value(key)
}

// real answers the real context. h is locked.
func (h *handling) real() context.Context {
	if h.inner != nil {
		return h.inner
	}
	deadline, _ := h.Deadline()
	h.inner, h.end = context.WithDeadline(h.r.handlers, deadline)
	if h.over || h.anyLost() {
		h.end()
		return h.inner
	}
	var last context.Context
	for _, d := range h.ds {
		if d.Owned != nil && d.Owned != last {
			h.stops = append(h.stops, context.AfterFunc(d.Owned, h.end))
			last = d.Owned
		}
	}
	return h.inner
}

func (h *handling) anyLost() bool {
	for _, d := range h.ds {
		if d.Owned != nil && d.Owned.Err() != nil {
			return true
		}
	}
	return false
}

// finish ends the context after the handler has returned, and reports whether it had run into HandlerTimeout.
func (h *handling) finish() (timedOut bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	if h.inner == nil {
		return false
	}
	timedOut = errors.Is(h.inner.Err(), context.DeadlineExceeded)
	h.end()
	for _, stop := range h.stops {
		stop()
	}
	return timedOut
}

// call runs the handler of one item.
func (r *run) call(h *handling, it *item) error {
	return r.guard(h, it.route.name, func(ctx context.Context) error {
		if it.route.plain && r.parker != nil {
			return r.admitted(ctx, it)
		}
		return it.route.handle(ctx, &it.d.Envelope)
	})
}

// admitted runs a handler that shares no transaction with the inbox, unless the inbox or what is parked says no.
func (r *run) admitted(ctx context.Context, it *item) error {
	done, run, err := r.c.parking.Admit(ctx, r.c.s.Group, it.d)
	if err != nil || !run {
		return err
	}
	if err := it.route.handle(ctx, &it.d.Envelope); err != nil || done == nil {
		return err
	}
	return done(ctx)
}

// guard runs f with the context of h. A panic is an error; its stack goes to the log and nowhere else.
func (r *run) guard(h *handling, route string, f func(context.Context) error) (err error) {
	returned := false
	defer func() {
		timedOut := h.finish()
		if !returned {
			p := recover()
			if p == nil {
				return // runtime.Goexit: the lane's loop sees to it
			}
			err = fmt.Errorf("bus: handler of %s panicked: %v", short(route), p)
			r.c.log.Error("bus: handler panicked", "consumer", r.c.s.Group, "message", h.info.Envelope, "stack", string(debug.Stack()))
		}
		if timedOut && err != nil {
			err = fmt.Errorf("bus: handler of %s: it ran past HandlerTimeout (%v) and its context was cancelled: %w", short(route), r.c.o.HandlerTimeout, err)
		}
		if observe := r.c.o.Hooks.Handled; observe != nil {
			for _, d := range h.ds {
				observe(d, h.info.Attempt, now().Sub(h.started), err)
			}
		}
	}()
	err = f(sixfold.WithInfo(h, &h.info))
	returned = true
	return err
}
