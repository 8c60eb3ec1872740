package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// closeLimit bounds the end of a session in order.
const closeLimit = 5 * time.Second

// A session is one client of a source, which connects again by itself. It ends with the source, or when the brokers may have
// given its partitions to others without its having heard of it (pulse.go).
type session struct {
	s     *source
	cl    *kgo.Client
	guard *guard
	pulse *pulse
	wg    sync.WaitGroup

	hungry  chan struct{} // at most one token: there is room for more
	dirty   chan struct{} // at most one token: something is to be committed
	urgent  chan struct{} // at most one token: at once
	drained chan struct{} // at most one token: something of a partition that leaves was settled

	lost  chan struct{} // closed when the session is over
	once  sync.Once
	cause error // why it is over; read after lost

	// Guarded by the source's mu:
	polling    bool
	interrupt  context.CancelFunc // of the poll that is under way
	holding    int                // who waits until no poll is under way
	quiet      *sync.Cond         // no poll is under way, or may begin
	committing sync.Mutex         // held while a commit is made and sent; not guarded by the source's
}

// connect makes a session.
func (s *source) connect(ctx context.Context) (*session, error) {
	ses := &session{s: s, hungry: make(chan struct{}, 1), dirty: make(chan struct{}, 1), urgent: make(chan struct{}, 1), drained: make(chan struct{}, 1),
		lost: make(chan struct{}), guard: newGuard(s.t.dial)}
	ses.quiet = sync.NewCond(&s.mu)
	opts := []kgo.Opt{kgo.RequestRetries(20), kgo.RetryBackoffFn(backoff), kgo.MetadataMinAge(100 * time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted())}
	var err error
	if s.kind == copied {
		opts, err = ses.copyOptions(ctx, opts)
	} else {
		opts = ses.groupOptions(opts)
	}
	if err == nil {
		ses.cl, err = s.t.client(ses.guard.dial, opts...)
	}
	if err != nil {
		ses.end(err)
		ses.wg.Wait()
		return nil, err
	}
	s.mu.Lock()
	s.ses = ses
	s.mu.Unlock()
	ses.wg.Go(ses.receive)
	if s.kind == shared {
		ses.wg.Go(ses.commits)
	}
	return ses, nil
}

// backoff is how long a request waits before it is tried again.
func backoff(tries int) time.Duration {
	return min(50*time.Millisecond<<min(tries, 6), 2*time.Second)
}

// run keeps a session until it is told to stop. Only what the brokers refuse ends it before.
func (s *source) run(ctx context.Context, ses *session) {
	defer close(s.done)
	for {
		select {
		case closing := <-s.stop:
			ses.leave(closing, true)
			return
		case <-ctx.Done():
			ses.leave(ctx, false)
			return
		case <-ses.lost:
		}
		ses.leave(ctx, false)
		err := ses.cause
		if !errors.Is(err, bus.ErrRefused) {
			s.t.o.Logger.Warn("kafka: a source lost its session and begins again", "group", s.sub.Group, "err", err)
			ses, err = s.reconnect(ctx)
		}
		if err != nil {
			s.mu.Lock()
			s.failed = err
			s.bell.Ring()
			s.mu.Unlock()
			select {
			case <-s.stop:
			case <-ctx.Done():
			}
			return
		}
		if ses == nil {
			return
		}
	}
}

// reconnect tries until it has a session, the source is closed (nil), or the brokers refuse.
func (s *source) reconnect(ctx context.Context) (*session, error) {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // an attempt ends when the source is closed
		select {
		case <-s.gone:
			cancel()
		case <-inner.Done():
		}
	}()
	for tries := 0; ; tries++ {
		if !pause(inner, backoff(tries)) {
			return nil, nil
		}
		ses, err := s.connect(inner)
		switch {
		case err == nil:
			return ses, nil
		case inner.Err() != nil:
			return nil, nil
		case errors.Is(err, bus.ErrRefused):
			return nil, err
		}
		s.t.o.Logger.Debug("kafka: a source cannot begin and tries again", "group", s.sub.Group, "err", err)
	}
}

// end says that the session is over.
func (ses *session) end(why error) {
	ses.once.Do(func() {
		ses.cause = why
		close(ses.lost)
	})
}

// leave gives the session up: in order, while ctx lasts, so that others need not wait until we count as dead; or at once.
func (ses *session) leave(ctx context.Context, inOrder bool) {
	s := ses.s
	ses.end(nil)
	s.mu.Lock()
	if ses.interrupt != nil {
		ses.interrupt()
	}
	ses.quiet.Broadcast()
	s.mu.Unlock()
	if inOrder && s.kind == shared {
		limit := closeLimit
		if ses.guard.isDown() {
			limit = 200 * time.Millisecond
		}
		inner, cancel := context.WithTimeout(ctx, limit)
		ses.commitLast(inner, ses.all())
		_ = ses.cl.LeaveGroupContext(inner) // others notice later
		cancel()
	}
	s.mu.Lock()
	if s.ses == ses {
		s.ses = nil
	}
	for _, f := range s.feeds {
		f.end()
	}
	s.feeds = nil
	s.mu.Unlock()
	ses.abort() // which can take a while, and nothing is ours any more
}

// abort ends the client at once.
func (ses *session) abort() {
	ses.end(nil)
	ses.pulse.stop()
	ses.guard.abort()
	ses.cl.Close()
	ses.wg.Wait()
}

func (ses *session) all() []*feed {
	ses.s.mu.Lock()
	defer ses.s.mu.Unlock()
	return slices.Clone(ses.s.feeds)
}

// target is how many messages wait here at most to be received.
func (ses *session) target() int { return min(max(ses.s.max, 64), 4096) }

// receive polls the client and puts what comes into feeds. It does not poll while there is enough: the client then stops
// to fetch, and its heartbeats go on.
func (ses *session) receive() {
	s := ses.s
	for {
		ctx, n := ses.beginPoll()
		switch {
		case ctx == nil:
			return
		case n == 0:
			select {
			case <-ses.hungry:
				continue
			case <-ses.lost:
				return
			}
		}
		fetches := ses.cl.PollRecords(ctx, n)
		err := ses.endPoll(fetches)
		if err != nil {
			if errors.Is(err, bus.ErrRefused) {
				ses.end(err)
				return
			}
			s.t.o.Logger.Warn("kafka: a source cannot receive from a partition, or not join its group, and tries again", "group", s.sub.Group, "err", err)
		}
	}
}

// beginPoll answers how much there is room for, and the context of a poll; nil when the session is over.
func (ses *session) beginPoll() (context.Context, int) {
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for ses.holding > 0 && !ses.over() {
		ses.quiet.Wait()
	}
	if ses.over() {
		return nil, 0
	}
	if s.buffered > ses.target()/2 {
		return context.Background(), 0
	}
	var ctx context.Context
	ctx, ses.interrupt = context.WithCancel(context.Background())
	ses.polling = true
	return ctx, ses.target() - s.buffered
}

func (ses *session) over() bool {
	select {
	case <-ses.lost:
		return true
	default:
		return false
	}
}

// endPoll puts what came into feeds. What belongs to none is of a partition that has been revoked since.
func (ses *session) endPoll(fetches kgo.Fetches) error {
	s := ses.s
	var errs []error
	type arrivals struct {
		high int64
		hs   []held
		rs   []*kgo.Record
	}
	all := make(map[part]*arrivals)
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err != nil && !errors.Is(p.Err, context.Canceled) && !errors.Is(p.Err, kgo.ErrClientClosed) {
			errs = append(errs, fmt.Errorf("partition %d of %s: %w", p.Partition, driver.Quote(p.Topic), classify(p.Err)))
		}
		if len(p.Records) == 0 {
			return
		}
		a := &arrivals{high: p.HighWatermark, hs: make([]held, len(p.Records)), rs: p.Records}
		for i, r := range p.Records { // without the lock
			a.hs[i].delivery.Damaged = decode(s.binding, r, &a.hs[i].delivery.Envelope)
		}
		all[part{p.Topic, p.Partition}] = a
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ses == ses {
		for _, f := range s.feeds {
			a := all[part{f.topic, f.partition}]
			if a == nil || f.draining || f.dead {
				continue
			}
			for i, r := range a.rs {
				f.add(&a.hs[i], r.Offset, a.high)
			}
		}
		s.bell.Ring()
	}
	ses.polling = false
	ses.interrupt()
	ses.quiet.Broadcast()
	return errors.Join(errs...)
}

// part names a partition.
type part struct {
	topic  string
	number int32
}

// still runs f while no poll is under way, so that what was polled before is in its feeds, or nowhere. The source's mu is held in f.
func (ses *session) still(f func()) {
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	ses.holding++
	for ses.polling {
		ses.interrupt()
		ses.quiet.Wait()
	}
	f()
	ses.holding--
	ses.quiet.Broadcast()
}
