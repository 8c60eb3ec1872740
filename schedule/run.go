package schedule

import (
	"context"
	"errors"
	"time"

	"github.com/sixfold-go/sixfold/outbox"
)

// The first of the pauses between looks at what is due and cannot be had, at what a transaction may have written that has not
// committed yet, and at a database that does not answer; and the last one, but for transactions.
const (
	shortPause = 10 * time.Millisecond
	longPause  = time.Second
)

// Run promotes what is due until ctx ends. A database that cannot be reached is tried again for ever; OnError hears of it. What
// is moved, is moved by one transaction with all that belongs to it, so ending it loses nothing and repeats nothing. Run may be
// called once.
func (s *Scheduler) Run(ctx context.Context) error {
	if s.ran.Swap(true) {
		return errors.New("schedule: run: the scheduler runs already, or did; make another one")
	}
	s.note(func(h *Health) { h.Running = true })
	defer s.note(func(h *Health) { h.Running = false })
	rings, stop := s.box.Store().Bell(outbox.Later).Listen()
	defer stop()
	w := worker{s: s, rings: rings}
	for ctx.Err() == nil {
		w.sleep(ctx, w.round(ctx))
	}
	return nil
}

// worker is one Run at work.
type worker struct {
	s       *Scheduler
	rings   <-chan outbox.Ring
	from    time.Time // messages that are due before it were moved a moment ago
	batches int       // since all of them were looked at
	atMost  int       // how many there may be until then
	full    int       // batches that were full, in a row
	known   *Due      // what is due when the sleep has ended by itself
	pause   time.Duration
	purged  time.Time
}

// fromAtMost is how many batches in a row do not look at what lies before them: at first, and at most. Walking again and again
// over what was just moved takes time while the database has not cleaned up, and more of it the more was moved: so the number
// doubles.
const (
	fromAtMost     = 100
	fromEverAtMost = 400
)

// askEvery is every how many full batches it is asked what is due: behind a full one there is more as a rule, but schedules
// want to be looked at meanwhile.
const askEvery = 2

// due is how long it is until something is due. What is known is not asked.
func (w *worker) due(ctx context.Context) (due Due, asked bool, err error) {
	switch {
	case w.known != nil:
		return *w.known, false, nil
	case w.full%askEvery != 0:
		return Due{Recurring: Never}, false, nil
	}
	due, err = w.s.store.Next(ctx, w.from)
	return due, true, err
}

// round does what is due, and answers how long nothing is.
func (w *worker) round(ctx context.Context) time.Duration {
	due, asked, err := w.due(ctx)
	w.known = nil
	if err != nil {
		return w.failed(ctx, err)
	}
	worked, stuck := false, false
	if due.Delayed <= 0 {
		p, err := w.s.store.Delayed().Promote(ctx, w.s.opts.Batch, w.from)
		if err != nil {
			return w.failed(ctx, err)
		}
		w.after(p)
		worked, stuck = worked || p.Moved > 0, stuck || p.Moved == 0
		w.s.note(func(h *Health) { h.Promoted += int64(p.Moved) })
	}
	if due.Recurring <= 0 {
		n, err := w.s.advance(ctx)
		if err != nil {
			return w.failed(ctx, err)
		}
		worked, stuck = worked || n > 0, stuck || n == 0
		w.s.note(func(h *Health) { h.Advanced += int64(n) })
	}
	w.s.note(func(h *Health) { h.Down = nil })
	switch {
	case worked:
		w.pause = 0
		w.purge(ctx, 2*purgeEvery) // one that always has something to do
		return 0
	case !w.from.IsZero():
		w.from, w.batches = time.Time{}, 0
		return 0
	case !asked: // it was wrong, because a clock was changed for example
		return 0
	case stuck:
		w.pause = min(w.pause, longPause)
		return w.next()
	}
	first := min(due.Delayed, due.Recurring)
	wait := min(first, w.s.opts.Poll)
	if w.pause > 0 { // something may be committed soon, but hardly later than a poll from now
		wait = min(wait, w.next())
		if w.pause >= w.s.opts.Poll {
			w.pause = 0
		}
	}
	if wait == first {
		w.known = &Due{Delayed: due.Delayed - wait, Recurring: due.Recurring - wait}
	}
	if wait > time.Second {
		w.purge(ctx, purgeEvery)
	}
	return wait
}

// after notes from where on the next batch may look.
func (w *worker) after(p Promotion) {
	w.batches++
	w.full++
	w.atMost = max(w.atMost, fromAtMost)
	switch {
	case p.Moved < w.s.opts.Batch:
		w.from, w.batches, w.full, w.atMost = time.Time{}, 0, 0, fromAtMost
	case w.batches >= w.atMost:
		w.from, w.batches, w.atMost = time.Time{}, 0, min(2*w.atMost, fromEverAtMost)
	default:
		w.from = p.Last
	}
}

// next is the next of the pauses, which double.
func (w *worker) next() time.Duration {
	w.pause = max(2*w.pause, shortPause)
	return w.pause
}

func (w *worker) failed(ctx context.Context, err error) time.Duration {
	if ctx.Err() != nil {
		return 0
	}
	w.full = 0
	w.s.note(func(h *Health) { h.Down = err })
	w.s.report(err)
	w.pause = min(w.pause, longPause)
	return w.next()
}

// report tells of what will be tried again.
func (s *Scheduler) report(err error) {
	if s.opts.OnError != nil {
		s.opts.OnError(err)
		return
	}
	s.opts.Logger.Warn("schedule: it will be tried again", "error", err)
}

// sleep waits until d has passed, or something was scheduled in this process.
func (w *worker) sleep(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return
	case <-timer.C:
		return
	case <-w.rings:
	}
	w.known = nil
	// Many that schedule at once are one reason to look, and what they write is committed in a moment.
	w.pause = shortPause / 2
	w.from = time.Time{}
	gather := time.NewTimer(min(d, time.Millisecond))
	defer gather.Stop()
	select {
	case <-ctx.Done():
	case <-gather.C:
	}
}

// purgeEvery is the time between two purges, and purgeAtMost what one transaction of them removes.
const (
	purgeEvery  = time.Hour
	purgeAtMost = 1000
)

// purge removes what was kept long enough, unless that was done less than every ago.
func (w *worker) purge(ctx context.Context, every time.Duration) {
	if now := time.Now(); now.Sub(w.purged) < every {
		return
	} else if w.purged.IsZero() {
		w.purged = now // not at once: many that start together would all do it
		return
	}
	n, err := w.s.store.History().Purge(ctx, w.s.opts.History, purgeAtMost)
	if err != nil && ctx.Err() == nil {
		w.s.report(err)
	}
	if n < purgeAtMost {
		w.purged = time.Now()
	}
}
