package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A session is one connection of a source. Nothing spans two: what a group had on a connection that was lost comes
// again.
type session struct {
	s     *source
	nc    *natsgo.Conn
	js    jetstream.JetStream
	inbox string // requests of a feed are answered at <inbox>.m.<feed>, confirms of acknowledgements at <inbox>.a.<number>.<feed>
	subs  []*natsgo.Subscription
	lost  chan struct{} // closed when the connection is over

	payload int64         // the server's limit
	poke    chan struct{} // at most one token: lanes should be looked at
	group   []*party      // of an ordered group: one per topic

	once  sync.Once
	cause error // why it is over; read after lost

	// Guarded by the source's mu:
	feeds     []*feed          // by index; some may be dead
	names     map[string]*feed // by "<stream>.<consumer>"
	confirmed uint64
	confirms  map[uint64]*confirms
}

// run keeps a session until it is told to stop. Only credentials that are refused end it before.
func (s *source) run(ctx context.Context, ses *session) {
	defer close(s.done)
	for {
		stopping := ses.serve(ctx)
		s.leave(ses)
		ses.close()
		if stopping || ctx.Err() != nil {
			return
		}
		s.t.o.Logger.Warn("nats: a source lost its connection and connects again", "group", s.sub.Group, "err", ses.cause)
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

// reconnect tries until it has a session, the source is closed (nil), or the credentials are refused.
func (s *source) reconnect(ctx context.Context) (*session, error) {
	const least, most = 50 * time.Millisecond, 2 * time.Second
	for wait := least; ; wait = min(2*wait, most) {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-s.stop:
			t.Stop()
			return nil, nil
		case <-ctx.Done():
			t.Stop()
			return nil, nil
		}
		ses, err := s.connect(ctx)
		switch {
		case err == nil:
			return ses, nil
		case notAllowed(err):
			return nil, err
		case ctx.Err() == nil:
			s.t.o.Logger.Debug("nats: a source cannot connect and tries again", "group", s.sub.Group, "err", err)
		}
	}
}

// connect dials and begins to receive.
func (s *source) connect(ctx context.Context) (*session, error) {
	ses := &session{s: s, lost: make(chan struct{}), poke: make(chan struct{}, 1), confirms: make(map[uint64]*confirms), names: make(map[string]*feed)}
	nc, err := s.t.dial(ctx, "source", func(o *natsgo.Options) {
		o.ClosedCB = func(nc *natsgo.Conn) { ses.end(nc.LastError()) }
	})
	if err != nil {
		return nil, err
	}
	ses.nc, ses.payload = nc, nc.MaxPayload()
	if err := ses.begin(ctx); err != nil {
		s.leave(ses)
		ses.close()
		return nil, err
	}
	return ses, nil
}

func (ses *session) begin(ctx context.Context) (err error) {
	s := ses.s
	if ses.js, err = s.t.jetStream(ses.nc); err != nil {
		return err
	}
	ses.inbox = ses.nc.NewInbox()
	for subject, f := range map[string]natsgo.MsgHandler{".m.*": ses.arrived, ".a.*.*": ses.acked} {
		sub, err := ses.nc.Subscribe(ses.inbox+subject, f)
		if err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			return classify(err)
		}
		ses.subs = append(ses.subs, sub)
	}
	lanes := 0
	for _, p := range s.parts {
		if p.route, err = s.t.declareOne(ctx, p.topic, nil); err != nil {
			return fmt.Errorf("topic %s: %w", driver.Quote(p.topic), err)
		}
		p.durable = p.route.durable(s.sub.Group)
		lanes += len(p.route.subjects)
	}
	s.mu.Lock()
	s.laneCount = lanes
	s.ses, s.feeds = ses, nil
	s.mu.Unlock()
	open := map[kind]func(context.Context, *part) error{shared: ses.openShared, copied: ses.openCopy, laned: ses.openParty}[s.kind]
	for _, p := range s.parts {
		if err := open(ctx, p); err != nil {
			s.t.routes.Forget(p.topic)
			return fmt.Errorf("topic %s: %w", driver.Quote(p.topic), ended(ctx, err))
		}
	}
	s.mu.Lock()
	pulls := s.pulls()
	s.mu.Unlock()
	ses.pull(pulls)
	return nil
}

// add makes a feed known to the session, so that it can receive.
func (ses *session) add(f *feed) {
	s := ses.s
	s.mu.Lock()
	defer s.mu.Unlock()
	f.index = len(ses.feeds)
	ses.feeds = append(ses.feeds, f)
	ses.names[f.stream+"."+f.consumer] = f
	if s.ses == ses {
		s.feeds = append(s.feeds, f)
	}
}

// serve works until the connection is over or the source is closed, which it reports.
func (ses *session) serve(ctx context.Context) (stopping bool) {
	if ses.s.kind == laned {
		return ses.serveLanes(ctx)
	}
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			ses.look()
		case closing := <-ses.s.stop:
			ses.giveBack(closing)
			return true
		case <-ses.lost:
			return false
		case <-ctx.Done():
			return true
		}
	}
}

// look notices servers that are silent, and asks again where a request failed.
func (ses *session) look() {
	const silence = 3 // looks
	s := ses.s
	s.mu.Lock()
	silent := false
	for _, f := range s.feeds {
		f.again = false
		if f.heard || f.asked == 0 || f.dead {
			f.heard, f.quiet = false, 0
			continue
		}
		f.quiet++
		silent = silent || f.quiet >= silence
	}
	pulls := s.pulls()
	s.mu.Unlock()
	if silent {
		ses.end(errors.New("the server has sent no heartbeat"))
		return
	}
	ses.pull(pulls)
}

// leave drops what a session has. Copies stay as they are.
func (s *source) leave(ses *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ses == ses {
		s.ses = nil
	}
	if s.kind == copied {
		return
	}
	for b := range s.batches {
		b.end()
		b.timer.Stop()
		delete(s.batches, b)
	}
	for _, f := range ses.feeds {
		f.end()
	}
	s.feeds = nil
}

// end says that the session is over.
func (ses *session) end(why error) {
	ses.once.Do(func() {
		ses.cause = why
		close(ses.lost)
	})
}

func (ses *session) close() {
	ses.end(nil)
	ses.nc.Close()
}

// wake lets the goroutine of an ordered source look at its lanes.
func (ses *session) wake() {
	select {
	case ses.poke <- struct{}{}:
	default:
	}
}

func (ses *session) ackSubject(number uint64, index int) string {
	return ses.inbox + ".a." + strconv.FormatUint(number, 10) + "." + strconv.Itoa(index)
}

func (ses *session) parseAckSubject(subject string) (number uint64, index int, ok bool) {
	a, b, ok := strings.Cut(subject[len(ses.inbox)+len(".a."):], ".")
	number, err := strconv.ParseUint(a, 10, 64)
	index, err2 := strconv.Atoi(b)
	return number, index, ok && err == nil && err2 == nil
}

// loseFeed ends a feed whose consumer has gone. mu is held.
func (ses *session) loseFeed(f *feed) {
	switch ses.s.kind {
	case laned: // it is taken again, if it is still ours
		f.end()
		ses.wake()
		ses.s.bell.Ring()
	default:
		ses.s.t.routes.Forget(f.topic)
		ses.end(fmt.Errorf("%w: consumer %s has gone", bus.ErrUnavailable, f.consumer))
	}
}

// giveBack releases what a group without order has not settled, or removes what a copy has at the server. What is on its way when the requests end arrives first.
func (ses *session) giveBack(ctx context.Context) {
	s := ses.s
	if s.kind == copied {
		ses.dropCopies(ctx)
		return
	}
	arrived := make(chan struct{})
	sub := ses.subs[0]
	if !strings.HasPrefix(sub.Subject, ses.inbox+".m.") {
		sub = ses.subs[1]
	}
	sub.SetClosedHandler(func(string) { close(arrived) })
	if sub.Drain() == nil {
		select {
		case <-arrived:
		case <-ses.lost:
		case <-ctx.Done():
		}
	}
	var acks []string
	s.mu.Lock()
	for _, f := range s.feeds {
		for i := range f.buf.Len() {
			acks = append(acks, (*f.buf.At(i)).ack)
		}
	}
	for b := range s.batches {
		for _, h := range b.all {
			if h.live {
				acks = append(acks, h.ack)
			}
		}
	}
	s.mu.Unlock()
	for _, subject := range acks {
		if ses.nc.Publish(subject, ackNak) != nil {
			return
		}
	}
	flushing, cancel := asking(ctx)
	defer cancel()
	if err := ses.nc.FlushWithContext(flushing); err != nil {
		s.t.o.Logger.Debug("nats: a source could not give everything back; it comes again after AckWait", "err", err)
	}
}
