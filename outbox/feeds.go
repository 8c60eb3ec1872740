package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sixfold-go/sixfold/bus"
)

// Feed is a class of rows that a source reads, with leases, order per key and redelivery as a local consumer has them.
type Feed struct {
	// Store has the rows as its table ToLocal.
	Store Store
	Class string
	// Topic that the rows were sent to. Empty: the rows of a local consumer, which records what it handled by deleting the
	// row. With a topic the store is a broker: a message may be there twice, which only an inbox can tell, attempts are not
	// counted, and envelopes are as they were sent.
	Topic string
	// Rank says which feeds come first: while one of a higher rank has rows waiting, none is taken from a lower one.
	Rank int
	// InOrder: the store's rows become visible in the order of their numbers, so that no row appears below one that was read.
	InOrder bool
}

// name is for people.
func (f *Feed) name() string { return cmp.Or(f.Topic, f.Class) }

// OpenFeeds opens a source that reads feeds and hands out at most most deliveries at a time, of all together; 0: 1,000.
// Transports whose broker is a database are made of it. With several feeds each is asked as much less often while
// nothing comes. What is wrong with opts is an error.
func OpenFeeds(ctx context.Context, of []Feed, most int, opts *LocalOptions) (bus.Source, error) {
	var o LocalOptions
	if opts != nil {
		o = *opts
	}
	r := RelayOptions{Lease: o.Lease, Batch: o.Batch, Poll: o.Poll, Sweep: o.Sweep, Logger: o.Logger}
	if err := r.defaults("local"); err != nil {
		return nil, err
	}
	if len(of) == 0 {
		return nil, errors.New("outbox: open feeds: there are none; give at least one")
	}
	o = LocalOptions{Lease: r.Lease, Batch: r.Batch, Poll: r.Poll * time.Duration(len(of)), Sweep: r.Sweep, Logger: r.Logger}
	if most <= 0 {
		most = 1000
	}
	if err := check(ctx, of[0].Store.Keeper(), o.Logger); err != nil {
		return nil, fmt.Errorf("outbox: local: %w", err)
	}
	f := &feeds{most: most, opts: &o, wake: make(chan struct{}, 1)}
	f.bell, f.unbell = of[0].Store.Bell(ToLocal).Listen()
	for i := range of {
		f.all = append(f.all, openLocal(of[i], f, &o, i == 0))
	}
	slices.SortStableFunc(f.all, func(a, b *localSource) int { return cmp.Compare(b.feed.Rank, a.feed.Rank) })
	for _, s := range f.all {
		if err := s.begin(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("outbox: local: %w: %w", bus.ErrUnavailable, err), f.Close(ctx))
		}
	}
	return f, nil
}

// feeds is a bus.Source over the classes of a store.
type feeds struct {
	most   int
	opts   *LocalOptions
	all    []*localSource // by falling rank
	wake   chan struct{}
	bell   <-chan Ring
	unbell func()
	turn   int // Receive's goroutine: who of equal rank is asked first

	mu     sync.Mutex
	closed bool
}

func (f *feeds) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// room is what may be handed out yet.
func (f *feeds) room() int {
	left := f.most
	for _, s := range f.all {
		left -= s.handedOut()
	}
	return left
}

// Receive implements bus.Source.
func (f *feeds) Receive(ctx context.Context, max int) ([]*bus.Delivery, error) {
	failing := backoff{log: f.all[0].log, what: "consumer cannot read its messages from the database"}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if f.isClosed() {
			return nil, fmt.Errorf("outbox: local: receive: %w", bus.ErrClosed)
		}
		ds, found, err := f.look(ctx, max)
		switch {
		case len(ds) > 0:
			return ds, nil
		case err != nil:
			failing.wait(ctx, err)
		case found:
			failing.over()
		default:
			failing.over()
			f.sleep(ctx)
		}
	}
}

// look asks each feed once, the highest rank first. found: there is more behind what is no use to us.
func (f *feeds) look(ctx context.Context, max int) (ds []*bus.Delivery, found bool, err error) {
	f.turn++
	for i := range f.all {
		s := f.nth(i)
		if ds = s.hand(max); len(ds) > 0 {
			return ds, true, nil
		}
		now := time.Now()
		if !s.due(now) {
			continue
		}
		more, err := s.turn(ctx)
		if err != nil {
			return nil, false, err
		}
		if !more {
			s.rest(now)
			continue
		}
		s.idle.reset()
		s.lookAt = time.Time{}
		if ds = s.hand(max); len(ds) > 0 {
			return ds, true, nil
		}
		found = true
	}
	return nil, found, nil
}

// nth is the feed to ask as number i: in order of rank, and those of one rank in turns.
func (f *feeds) nth(i int) *localSource {
	rank := f.all[i].feed.Rank
	from := i
	for from > 0 && f.all[from-1].feed.Rank == rank {
		from--
	}
	to := i + 1
	for to < len(f.all) && f.all[to].feed.Rank == rank {
		to++
	}
	return f.all[from+(i-from+f.turn)%(to-from)]
}

// sleep waits for anything that may bring a row.
func (f *feeds) sleep(ctx context.Context) {
	at, bell := time.Time{}, f.bell
	held := false
	for _, s := range f.all {
		if at.IsZero() || s.lookAt.Before(at) {
			at = s.lookAt
		}
		held = held || s.tenure.held > 0
	}
	if !held || f.room() <= 0 {
		bell = nil
	}
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-f.wake:
	case r := <-bell:
		for _, s := range f.all {
			s.idle.ring(r)
			s.lookAt = time.Time{}
		}
	case <-t.C:
	}
}

// Settle implements bus.Source.
func (f *feeds) Settle(ctx context.Context, all []bus.Settlement) []error {
	if f.isClosed() {
		return slices.Repeat([]error{fmt.Errorf("outbox: local: settle: %w", bus.ErrClosed)}, len(all))
	}
	if len(f.all) == 1 {
		return f.all[0].settle(ctx, all)
	}
	errs := make([]error, len(all))
	for _, s := range f.all {
		var mine []bus.Settlement
		var at []int
		for i, x := range all {
			if r, ok := x.Token.(*localRow); ok && r.batch.source == s {
				mine, at = append(mine, x), append(at, i)
			} else if !ok {
				errs[i] = fmt.Errorf("outbox: local: settle: %w", bus.ErrLost)
			}
		}
		if len(mine) > 0 {
			for i, err := range s.settle(ctx, mine) {
				errs[at[i]] = err
			}
		}
	}
	return errs
}

// Extend implements bus.Source; the hearts keep all deliveries ours.
func (f *feeds) Extend(context.Context, []*bus.Delivery) error { return nil }

func (f *feeds) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// Close implements bus.Source. Receive must have returned.
func (f *feeds) Close(ctx context.Context) error {
	f.mu.Lock()
	was := f.closed
	f.closed = true
	f.mu.Unlock()
	f.nudge()
	if was {
		return nil
	}
	f.unbell()
	var errs []error
	for _, s := range f.all {
		errs = append(errs, s.close(ctx))
	}
	return errors.Join(errs...)
}
