package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A session is one channel of a source. Nothing spans two: what a group had on a channel that was lost comes again.
type session struct {
	s     *source
	link  *link
	ch    *amqp.Channel
	owned context.Context // of its deliveries
	lose  context.CancelFunc
	in    []<-chan amqp.Delivery // by feed
	wg    sync.WaitGroup         // of what takes arrivals
	poke  chan struct{}          // at most one token: a run began, or something is to be acknowledged

	acking sync.Mutex // held while acknowledgements are chosen and written
	ack    func(tag uint64, multiple bool) error

	caught   chan struct{} // at most one token: what somebody waits for has come
	markless bool          // the node refuses marks; only the goroutine's own

	closes  chan *amqp.Error
	cancels chan string
	lost    chan struct{} // closed when the channel is over
	once    sync.Once
	cause   error // why it is over; read after lost

	// Guarded by the source's mu:
	tags  tags
	acked time.Time // when all up to the floor were acknowledged last
	came  uint64    // arrivals
	marks uint64    // tags that marks took
	need  uint64    // arrivals for which somebody waits
	all   []*held   // handed out or waiting; some may be settled
}

// run keeps a session until it is told to stop. Only what the node refuses ends it before.
func (s *source) run(ctx context.Context, ses *session) {
	defer close(s.done)
	for {
		closing := ses.serve(ctx)
		s.leave(ses)
		ses.close(closing)
		if closing != nil {
			return
		}
		s.t.o.Logger.Warn("rabbitmq: a source lost its channel and connects again", "group", s.sub.Group, "err", ses.cause)
		var err error
		if ses, err = s.reconnect(ctx); err != nil {
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

// reconnect tries until it has a session, the source is closed (nil), or the node refuses.
func (s *source) reconnect(ctx context.Context) (*session, error) {
	const least, most = 50 * time.Millisecond, 2 * time.Second
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // an attempt ends when the source is closed
		select {
		case <-s.gone:
			cancel()
		case <-inner.Done():
		}
	}()
	for wait := least; ; wait = min(2*wait, most) {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-inner.Done():
			t.Stop()
			return nil, nil
		}
		ses, err := s.again(inner)
		switch {
		case err == nil:
			return ses, nil
		case inner.Err() != nil:
			return nil, nil
		case errors.Is(err, bus.ErrRefused):
			return nil, err
		}
		s.t.o.Logger.Debug("rabbitmq: a source cannot connect and tries again", "group", s.sub.Group, "err", err)
	}
}

// again connects, and makes exchanges that have gone meanwhile.
func (s *source) again(ctx context.Context) (*session, error) {
	if !s.t.o.Require {
		for _, topic := range s.sub.Topics {
			if err := s.t.declare(ctx, topic); err != nil {
				return nil, fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
			}
		}
	}
	return s.connect(ctx)
}

// connect dials, declares what is not there, and begins to receive.
func (s *source) connect(ctx context.Context) (*session, error) {
	l, err := s.t.link(ctx, "source")
	if err != nil {
		return nil, err
	}
	ses := &session{s: s, link: l, poke: make(chan struct{}, 1), caught: make(chan struct{}, 1), closes: make(chan *amqp.Error, 1), cancels: make(chan string, len(s.queues)), lost: make(chan struct{})}
	ses.owned, ses.lose = context.WithCancel(context.Background())
	ses.tags.first = 1
	err = l.asking(ctx, func() error { return ses.open() })
	if err != nil {
		ses.close(ctx)
		return nil, classify(err)
	}
	s.mu.Lock()
	s.ses = ses
	for i, q := range s.queues {
		if len(s.feeds) <= i {
			s.feeds = append(s.feeds, &feed{s: s, topic: s.sub.Topics[i]})
		}
		f := s.feeds[i]
		f.queue, f.fresh, f.came = q.Name, true, 0
	}
	s.mu.Unlock()
	for i, in := range ses.in {
		ses.wg.Go(func() { ses.arrive(s.feeds[i], in) })
	}
	return ses, nil
}

// open makes the queues and consumers.
func (ses *session) open() (err error) {
	s := ses.s
	for i, topic := range s.sub.Topics {
		if s.kind == copied {
			continue
		}
		if err := s.t.bindQueue(ses.link, topic, s.queues[i]); err != nil {
			s.t.routes.Forget(topic)
			return fmt.Errorf("topic %s: %w", driver.Quote(topic), err)
		}
	}
	if ses.ch, err = ses.link.conn.Channel(); err != nil {
		return err
	}
	ses.ack = ses.ch.Ack
	ses.ch.NotifyClose(ses.closes)
	ses.ch.NotifyCancel(ses.cancels)
	if err := ses.ch.Qos(s.prefetch(), 0, false); err != nil {
		return err
	}
	for i, topic := range s.sub.Topics {
		if s.kind == copied {
			q, err := ses.ch.QueueDeclare("", false, true, true, false, amqp.Table{"x-queue-type": "classic"})
			if err == nil {
				err = ses.ch.QueueBind(q.Name, bindAll, topic, false, nil)
			}
			if err != nil {
				s.t.routes.Forget(topic)
				return fmt.Errorf("topic %s: %w", driver.Quote(topic), classify(err))
			}
			s.queues[i].Name = q.Name
		}
		in, err := ses.ch.Consume(s.queues[i].Name, "", false, false, false, false, nil)
		if err != nil {
			return fmt.Errorf("topic %s: %w", driver.Quote(topic), classify(err))
		}
		ses.in = append(ses.in, in)
	}
	return nil
}

// arrive takes the deliveries of one consumer, as many as there are at a time.
func (ses *session) arrive(f *feed, in <-chan amqp.Delivery) {
	const most = 64
	s := ses.s
	batch := make([]*held, 0, most)
	for d := range in {
		batch = append(batch[:0], ses.decode(f, &d))
		// The client hands deliveries on one by one, over a channel without room: what comes next is there only after other
		// goroutines have run. Without waiting for it, a consumer gets messages by ones and twos, and acknowledges them so.
		for tries := 0; len(batch) < most && tries < 2; {
			select {
			case d, ok := <-in:
				if !ok {
					tries = 2
					break
				}
				batch = append(batch, ses.decode(f, &d))
				tries = 0
			default:
				runtime.Gosched()
				tries++
			}
		}
		s.mu.Lock()
		if s.ses != ses { // too late: the channel is over
			s.mu.Unlock()
			continue
		}
		ready := false
		for _, h := range batch {
			ready = f.add(h) || ready
		}
		ses.remember(batch)
		ses.came += uint64(len(batch))
		if ses.need > 0 && ses.came >= ses.need {
			signal(ses.caught)
		}
		if ready && s.held < s.max {
			s.bell.Ring()
		}
		waits := len(f.run) > 0
		s.mu.Unlock()
		if waits {
			ses.wake()
		}
	}
}

func (ses *session) decode(f *feed, d *amqp.Delivery) *held {
	h := &held{f: f, ses: ses, tag: d.DeliveryTag}
	h.delivery.Damaged = decode(ses.s.binding, d, &h.delivery.Envelope)
	h.delivery.Topic, h.delivery.Redelivered = f.topic, d.Redelivered
	h.again, _ = d.Headers["x-delivery-count"].(int64)
	return h
}

// remember keeps what has to be lost with the session. mu is held.
func (ses *session) remember(batch []*held) {
	if ses.s.kind == copied {
		return
	}
	if len(ses.all) > 4*ses.s.max+1024 {
		kept := ses.all[:0]
		for _, h := range ses.all {
			if h.tag >= ses.tags.first {
				kept = append(kept, h)
			}
		}
		clear(ses.all[len(kept):])
		ses.all = kept
	}
	ses.all = append(ses.all, batch...)
}

// serve works until the channel is over (nil) or the source is closed: then it answers for how long that may take.
func (ses *session) serve(ctx context.Context) (closing context.Context) {
	look, floor, pay := newAlarm(), newAlarm(), newAlarm()
	defer look.Stop()
	defer floor.Stop()
	defer pay.Stop()
	for {
		select {
		case <-ses.poke:
			look.within(lookEvery)
			floor.within(floorEvery)
			pay.within(owedEvery)
		case <-look.C:
			look.rang()
			if ses.look() {
				look.within(lookEvery)
			}
		case <-floor.C:
			floor.rang()
			_ = ses.acknowledge((*tags).raise) // a failure ends the session
		case <-pay.C:
			pay.rang()
			if ses.pay() {
				pay.within(owedEvery)
			}
		case err := <-ses.closes:
			ses.broken(err)
			return nil
		case <-ses.cancels:
			ses.end(fmt.Errorf("%w: a queue was deleted, or moved", bus.ErrUnavailable))
			return nil
		case <-ses.lost:
			return nil
		case closing := <-ses.s.stop:
			ses.payAll(closing)
			return closing
		case <-ctx.Done():
			return ctx
		}
	}
}

// leave drops what a session has. Copies stay as they are.
func (s *source) leave(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ses == ses {
		s.ses = nil
	}
	ses.lose()
	if s.kind == copied {
		return
	}
	for _, f := range s.feeds {
		f.forget(nil)
	}
	for _, h := range ses.all {
		h.live = false
	}
	ses.all = nil
}

// end says that the session is over.
func (ses *session) end(why error) {
	ses.once.Do(func() {
		ses.cause = why
		close(ses.lost)
	})
}

// broken says that the client has closed the channel.
func (ses *session) broken(err *amqp.Error) {
	if err == nil {
		ses.end(errors.New("the connection was closed"))
	} else {
		ses.end(err)
	}
}

// close gives the channel up, which gives back what is not acknowledged; in order if there is a context for it.
func (ses *session) close(ctx context.Context) {
	ses.end(nil)
	ses.lose()
	switch {
	case ses.link.raw == nil:
		if ses.ch != nil {
			ses.ch.Close()
		}
	case ctx != nil && ctx.Err() == nil:
		ses.link.close(ctx)
	default:
		ses.link.abort()
	}
	ses.wg.Wait()
}

func (ses *session) wake() { signal(ses.poke) }

// signal leaves a token, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
