package request

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// hearing is an Ear with what belongs to it.
type hearing struct {
	ready chan struct{} // closed when ear is set, or never will be
	ear   Ear
	lost  chan error
	ctx   context.Context // ends with the ear
	over  context.CancelFunc
}

// refusal is a fault for a request that no handler gets.
type refusal struct {
	from     *hearing
	request  *Packet
	category Category
}

// Run listens until ctx ends, then takes no more requests, answers those that wait Unavailable, and lets handlers that run
// finish within DrainTimeout; what is left then gets its context ended, and the error is sixfold.ErrDrainTimeout. A lost
// connection is made again for ever, unless the broker refuses it. It can run once.
func (r *Responder) Run(ctx context.Context) error {
	r.mu.Lock()
	started := r.started
	r.started = true
	r.mu.Unlock()
	if started {
		return invalid("run responder: it was run before; make another")
	}
	handlers, stop := context.WithCancel(sixfold.WithCodecs(context.WithoutCancel(ctx), r.o.Codecs...))
	defer stop()
	var clerk sync.WaitGroup
	leave := make(chan struct{})
	clerk.Go(func() { r.clerk(leave) })
	keeping, rest := context.WithCancel(ctx)
	var upkeep sync.WaitGroup
	defer upkeep.Wait()
	defer rest()
	for _, f := range r.upkeep {
		upkeep.Go(func() { f(keeping) })
	}
	h, err := r.listen(ctx, handlers)
	for err == nil && h != nil {
		select {
		case <-ctx.Done():
			err = r.drain(h, stop)
			close(leave)
			clerk.Wait()
			h.end(r.o.DrainTimeout)
			return err
		case why := <-h.lost:
			r.mu.Lock()
			r.stats.Lost++
			r.mu.Unlock()
			r.o.Logger.Warn("request: a responder lost its connection and connects again", "lane", r.lane.Capabilities().Name, "err", why)
			h.end(r.o.DrainTimeout)
			h, err = r.listen(ctx, handlers)
		}
	}
	if drained := r.drain(nil, stop); err == nil {
		err = drained
	}
	close(leave)
	clerk.Wait()
	return err
}

// listen tries until it listens, ctx ends (nil, nil), or the broker refuses.
func (r *Responder) listen(ctx, handlers context.Context) (*hearing, error) {
	const least, most = 50 * time.Millisecond, 2 * time.Second
	for wait := least; ; wait = min(2*wait, most) {
		h := &hearing{ready: make(chan struct{}), lost: make(chan error, 1)}
		h.ctx, h.over = context.WithCancel(context.WithoutCancel(ctx))
		ear, err := r.lane.Listen(ctx, r.at, Requests{
			Take: func(destination string, p *Packet) { r.take(h, handlers, destination, p) },
			Lost: func(err error) { h.lost <- err },
		})
		h.ear = ear
		close(h.ready)
		if err == nil {
			r.hears(h)
			r.once.Do(func() { close(r.ready) })
			return h, nil
		}
		h.over()
		switch {
		case ctx.Err() != nil:
			return nil, nil
		case errors.Is(err, bus.ErrRefused), errors.Is(err, bus.ErrClosed), errors.Is(err, sixfold.ErrInvalid):
			return nil, fmt.Errorf("request: listen: %w", err)
		}
		r.o.Logger.Debug("request: a responder cannot listen and tries again", "err", err)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, nil
		}
	}
}

// end closes the ear.
func (h *hearing) end(limit time.Duration) {
	h.over()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	_ = h.ear.Close(ctx) // it is over in any case
}

// drain stops taking, refuses what waits, and waits for what runs.
func (r *Responder) drain(h *hearing, stop context.CancelFunc) error {
	limit := time.NewTimer(r.o.DrainTimeout)
	defer limit.Stop()
	if h != nil {
		ctx, cancel := context.WithTimeout(context.Background(), r.o.DrainTimeout)
		defer cancel()
		if err := h.ear.StopListening(ctx); err != nil {
			r.o.Logger.Warn("request: a responder could not stop listening in order", "err", err)
		}
	}
	r.mu.Lock()
	r.stopping = true
	close(r.bell)
	r.asleep = 0
	var waiting []*job
	for _, j := range r.queue.cut(max(r.o.MaxConcurrent-r.running, 0)) { // the others have a handler each
		delete(r.jobs, j.key)
		waiting = append(waiting, j)
	}
	if r.running == 0 && r.queue.n == 0 {
		close(r.idle)
	}
	r.mu.Unlock()
	for _, j := range waiting {
		r.refuse(j.from, j.request, Unavailable)
	}
	select {
	case <-r.idle:
		r.workers.Wait()
		return nil
	case <-limit.C:
	}
	stop()
	r.mu.Lock()
	n := r.running
	r.mu.Unlock()
	return fmt.Errorf("request: stop responder: %w: %d handlers did not return within %v; their callers get no reply (raise DrainTimeout above the longest handler)", sixfold.ErrDrainTimeout, n, r.o.DrainTimeout)
}

// clerk sends refusals, so that the lane's goroutine does not wait for that. Those that are left when it is told to leave are sent.
func (r *Responder) clerk(leave <-chan struct{}) {
	for {
		select {
		case f := <-r.refused:
			r.answer(f.from, f.request, fault(r.o.Source, f.category))
		case <-leave:
			for {
				select {
				case f := <-r.refused:
					r.answer(f.from, f.request, fault(r.o.Source, f.category))
				default:
					return
				}
			}
		}
	}
}
