package sqs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A sender is one pipe of requests. Of each key it has one message in flight, since SQS can refuse an entry of a batch
// and take the next; the others of the key wait here for its answer. The first request without an answer breaks the pipe.
type sender struct {
	t      *Transport
	ctx    context.Context // of the requests
	cancel context.CancelFunc
	work   sync.WaitGroup // requests

	mu      sync.Mutex // guards what follows
	failed  map[string]struct{}
	behind  map[string]*driver.Queue[*item] // keys with one in flight or ready, and what waits for it
	ready   map[*route]*driver.Queue[*item]
	turns   driver.Queue[*route] // with something ready, in turn
	open    int                  // messages without an answer
	bytes   int
	running int // requests
	room    chan struct{}
	waiting bool // Send waits for room
	gone    chan struct{}
	cause   error // why it ended
}

// The window of a sender: what may wait for answers, before Send blocks.
const (
	mostOpen  = 8192
	mostBytes = 32 << 20
)

// An item is a message of a pending.
type item struct {
	p            *driver.Batch
	i            int
	r            *route
	key          string
	text         string
	group, dedup string // empty: standard
	size         int
}

var (
	errSenderClosed = fmt.Errorf("%w: the sender or its transport was closed; open another", bus.ErrClosed)
	errUnconfirmed  = fmt.Errorf("sqs: send: %w: no answer before the sender ended; the message is in doubt", bus.ErrUnavailable)
	errBehind       = fmt.Errorf("%w; open another sender", bus.ErrBehindFailed)
)

// Open implements bus.Transport. It asks SQS, and SNS where it is used, whether they are there.
func (t *Transport) Open(ctx context.Context) (bus.Sender, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("sqs: open a sender: %w", err)
	}
	return s, nil
}

func (t *Transport) open(ctx context.Context) (*sender, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if err := t.reach(ctx); err != nil {
		return nil, err
	}
	if err := t.reachSNS(ctx); err != nil {
		return nil, err
	}
	if err := t.declareOptions(ctx); err != nil {
		return nil, err
	}
	s := &sender{t: t, failed: make(map[string]struct{}), behind: make(map[string]*driver.Queue[*item]), ready: make(map[*route]*driver.Queue[*item]),
		room: make(chan struct{}, 1), gone: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		s.cancel()
		return nil, errTransportClosed
	}
	t.senders[s] = struct{}{}
	return s, nil
}

// Send implements bus.Sender. It blocks while 8,192 messages or 32 MB have no answer; when ctx ends meanwhile, what was
// not handed over fails with bus.ErrUnavailable.
func (s *sender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	p := driver.NewBatch("sqs", &s.mu, len(batch))
	for i := range batch {
		if err := s.hand(ctx, p, i, &batch[i]); err != nil {
			s.mu.Lock()
			p.Settle(i, fmt.Errorf("sqs: send to %s: %w", driver.Quote(batch[i].Topic), err))
			s.mu.Unlock()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatch()
	p.Handed()
	return p
}

// hand takes one envelope, or says why not. What it has taken gets its answer elsewhere.
func (s *sender) hand(ctx context.Context, p *driver.Batch, i int, o *bus.Outgoing) error {
	if err := s.ended(); err != nil {
		return err
	}
	key := ""
	if o.Envelope != nil {
		key = o.Key
	}
	s.mu.Lock()
	_, failed := s.failed[key]
	s.mu.Unlock()
	if failed {
		return errBehind
	}
	it, err := s.item(ctx, p, i, o)
	if err == nil {
		err = s.enter(ctx, it)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && !errors.Is(err, bus.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	} else if ctx.Err() == nil && errors.Is(err, bus.ErrUnavailable) { // nobody answered where the topic is
		s.end(fmt.Errorf("%w: the service did not answer; open another sender", bus.ErrUnavailable))
	}
	if key != "" && !(o.MayMiss && errors.Is(err, bus.ErrUnroutable)) {
		s.mu.Lock()
		s.failed[key] = struct{}{}
		s.mu.Unlock()
	}
	return err
}

// item makes a message of an envelope.
func (s *sender) item(ctx context.Context, p *driver.Batch, i int, o *bus.Outgoing) (*item, error) {
	if o.Envelope == nil {
		return nil, fmt.Errorf("%w: there is no envelope; give one", bus.ErrRefused)
	}
	r, err := s.t.route(ctx, o.Topic)
	if err != nil {
		return nil, err
	}
	it := &item{p: p, i: i, r: r, key: o.Key}
	if it.text, it.size, err = encode(o, s.t.o.MaxBody, r.limit); err != nil {
		return nil, err
	}
	if r.fifo {
		it.group, it.dedup = groupOf(o.Envelope), dedupID(o)
	}
	return it, nil
}

// enter waits for room, and puts a message in its place: behind the one of its key that has no answer yet, or among those
// that can go.
func (s *sender) enter(ctx context.Context, it *item) (err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.cause == nil && (s.open >= mostOpen || s.open > 0 && s.bytes+it.size > mostBytes) {
		s.waiting = true
		s.dispatch()
		s.mu.Unlock()
		select {
		case <-s.room:
		case <-s.gone:
		case <-ctx.Done():
			err = fmt.Errorf("%w: %d messages have no answer yet: %w", bus.ErrUnavailable, mostOpen, ctx.Err())
		}
		s.mu.Lock()
		s.waiting = false
		if err != nil {
			return err
		}
	}
	if s.cause != nil {
		return s.cause
	}
	if it.key != "" {
		if _, failed := s.failed[it.key]; failed { // meanwhile
			return errBehind
		}
	}
	s.open++
	s.bytes += it.size
	if it.key == "" {
		s.push(it)
		return nil
	}
	line := s.behind[it.key]
	if line == nil {
		s.behind[it.key] = &driver.Queue[*item]{}
		s.push(it)
		return nil
	}
	line.Push(it)
	return nil
}

// push makes a message ready. s.mu is held.
func (s *sender) push(it *item) {
	q := s.ready[it.r]
	if q == nil {
		q = &driver.Queue[*item]{}
		s.ready[it.r] = q
		s.turns.Push(it.r)
	}
	q.Push(it)
}

// dispatch starts requests with what is ready. s.mu is held.
func (s *sender) dispatch() {
	for s.cause == nil && s.running < s.t.o.Requests && s.turns.Len() > 0 {
		batch := s.take()
		s.running++
		s.work.Go(func() { s.request(batch) })
	}
}

// take answers what one request can have of the topic whose turn it is: ten messages, and what the limit leaves of them.
func (s *sender) take() []*item {
	r := s.turns.Pop()
	q := s.ready[r]
	var batch []*item
	for size := 0; q.Len() > 0 && len(batch) < mostEntries; {
		if size += (*q.At(0)).size; size > r.limit {
			break
		}
		batch = append(batch, q.Pop())
	}
	if q.Len() > 0 {
		s.turns.Push(r)
	} else {
		delete(s.ready, r)
	}
	return batch
}

// request sends a batch and gives its messages their answers.
func (s *sender) request(batch []*item) {
	ctx, cancel := context.WithTimeout(s.ctx, s.t.o.AckTimeout)
	errs, lost := s.t.post(ctx, batch[0].r, batch)
	cancel()
	if lost != nil { // before the answers: who has one finds the sender ended
		s.end(fmt.Errorf("%w: a request had no answer: %w; open another sender", bus.ErrUnavailable, lost))
	}
	s.mu.Lock()
	s.running--
	for i, it := range batch {
		s.answer(it, errs[i])
	}
	s.dispatch()
	if s.waiting && s.open <= mostOpen*3/4 && s.bytes <= mostBytes*3/4 {
		s.waiting = false
		select {
		case s.room <- struct{}{}:
		default:
		}
	}
	s.mu.Unlock()
}

// answer settles a message that was in flight, and lets the next one of its key go, or fail. s.mu is held.
func (s *sender) answer(it *item, err error) {
	s.settle(it, err)
	line := s.behind[it.key]
	if it.key == "" || line == nil {
		return
	}
	if err != nil {
		s.failed[it.key] = struct{}{}
		for line.Len() > 0 {
			s.settle(line.Pop(), errBehind)
		}
	}
	if line.Len() == 0 {
		delete(s.behind, it.key)
		return
	}
	s.push(line.Pop())
}

// settle gives an item its answer. s.mu is held.
func (s *sender) settle(it *item, err error) {
	s.open--
	s.bytes -= it.size
	if err != nil && err != errUnconfirmed {
		err = fmt.Errorf("sqs: send to %s: %w", driver.Quote(it.r.topic), err)
	}
	it.p.Settle(it.i, err)
}

// ended says why the pipe has ended, or nil.
func (s *sender) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// Close implements bus.Sender. It waits for the requests, which it has cancelled, and always answers nil.
func (s *sender) Close(context.Context) error {
	s.end(errSenderClosed)
	s.work.Wait()
	return nil
}

// end gives the pipe up: what is ready or waits behind is answered here, what is in flight by its request. One that was lost stays
// known until it is closed, so that it can answer that the transport was.
func (s *sender) end(cause error) {
	closed := errors.Is(cause, bus.ErrClosed)
	s.mu.Lock()
	first := s.cause == nil
	if first || closed {
		s.cause = cause
	}
	if first {
		close(s.gone)
		for _, q := range s.ready {
			for q.Len() > 0 {
				it := q.Pop()
				s.settle(it, errUnconfirmed)
				s.drop(it.key)
			}
		}
		s.ready, s.turns = make(map[*route]*driver.Queue[*item]), driver.Queue[*route]{}
		for _, line := range s.behind { // of what is in flight
			for line.Len() > 0 {
				s.settle(line.Pop(), errUnconfirmed)
			}
		}
	}
	s.mu.Unlock()
	s.cancel()
	if closed {
		s.t.mu.Lock()
		delete(s.t.senders, s)
		s.t.mu.Unlock()
	}
}

// drop fails what waits behind a message that was not sent. s.mu is held.
func (s *sender) drop(key string) {
	if line := s.behind[key]; key != "" && line != nil {
		for line.Len() > 0 {
			s.settle(line.Pop(), errUnconfirmed)
		}
		delete(s.behind, key)
	}
}
