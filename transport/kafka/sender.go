package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
	"github.com/sixfold-go/sixfold/cloudevents"
)

const (
	// The window of a sender. It bounds what a lost connection leaves in doubt.
	mostMessages = 16384
	mostBytes    = 32 << 20
	// mostBatch is how long a batch grows, in bytes before compression, if its topic permits.
	mostBatch = 512 << 10
	// stickFor is how much goes to one partition before what has no key goes to another.
	stickFor = 64 << 10
)

// A sender is one pipe: a client of its own with a producer id of its own, and what is in flight. Batches carry
// sequence numbers, so a broker takes none whose predecessor it has not taken; and nothing is ever sent twice, since
// franz-go's own producer, with its repeats and new epochs, is not used. What can be refused is refused before it is handed
// over and costs its key only. A lost connection, or any answer of a broker that is not a yes, ends the pipe.
type sender struct {
	t        *Transport
	cl       *kgo.Client
	guard    *guard
	producer int64
	epoch    int16
	running  context.Context // of requests
	stop     context.CancelFunc
	gone     chan struct{} // closed when the pipe has ended
	done     chan struct{} // closed when its goroutines have ended as well
	wg       sync.WaitGroup

	// Of the goroutine that sends:
	enc    encoder
	hash   kgo.TopicPartitioner
	record kgo.Record // for hash
	failed map[string]struct{}
	topics map[string]*target

	mu       sync.Mutex // guards what follows, and every line and partition
	lines    map[int32]*line
	stale    map[string]bool // topics that have to be looked up again
	inFlight int
	bytes    int
	room     chan struct{}       // at most one token: look again
	waiting  bool                // Send waits for it
	live     map[*batch]struct{} // in flight or waiting
	cause    error               // why it ended
}

// target is what a sender knows of a topic.
type target struct {
	*place
	err   error // unroutable
	until time.Time
	parts []*partition

	turn int // partition of what has no key
	left int // bytes until it changes
}

var (
	errSenderClosed = fmt.Errorf("%w: the sender or its transport was closed; open another", bus.ErrClosed)
	errUnconfirmed  = fmt.Errorf("kafka: send: %w: no confirm before the sender ended; the message is in doubt", bus.ErrUnavailable)
)

// Open implements bus.Transport: it connects, and gets a producer id.
func (t *Transport) Open(ctx context.Context) (bus.Sender, error) {
	s, err := t.open(ctx)
	if err != nil {
		return nil, fmt.Errorf("kafka: open a sender: %w", err)
	}
	return s, nil
}

func (t *Transport) open(ctx context.Context) (*sender, error) {
	if err := t.usable(ctx); err != nil {
		return nil, err
	}
	if err := t.declareOptions(ctx); err != nil {
		return nil, err
	}
	s := &sender{t: t, gone: make(chan struct{}), done: make(chan struct{}), room: make(chan struct{}, 1), enc: encoder{binding: cloudevents.Kafka()},
		hash: kgo.StickyKeyPartitioner(nil).ForTopic(""), failed: make(map[string]struct{}), topics: make(map[string]*target),
		lines: make(map[int32]*line), stale: make(map[string]bool), live: make(map[*batch]struct{})}
	s.running, s.stop = context.WithCancel(context.Background())
	s.guard = newGuard(t.dial)
	// Version 12 is the last that names topics and does not number them.
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Produce), 11)
	var err error
	if s.cl, err = t.client(s.guard.dial, kgo.MaxVersions(versions), kgo.RequestRetries(0), kgo.WithHooks(wire{s}), kgo.RequestTimeoutOverhead(5*time.Second)); err != nil {
		s.stop()
		return nil, err
	}
	if err = s.begin(ctx); err == nil {
		t.mu.Lock()
		if t.closed {
			err = errTransportClosed
		} else {
			t.senders[s] = struct{}{}
		}
		t.mu.Unlock()
	}
	if err != nil {
		s.end(err)
		<-s.done
		return nil, err
	}
	return s, nil
}

// begin gets to know the brokers, and asks for a producer id.
func (s *sender) begin(ctx context.Context) error {
	inner, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	all := kmsg.NewPtrMetadataRequest()
	all.Topics = []kmsg.MetadataRequestTopic{}
	_, err := all.RequestWith(inner, s.cl)
	var resp *kmsg.InitProducerIDResponse
	if err == nil {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = -1, -1, -1
		resp, err = req.RequestWith(inner, s.cl)
	}
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil && inner.Err() != nil:
		return fmt.Errorf("%w: the brokers did not answer within %v", bus.ErrUnavailable, requestLimit)
	case err != nil:
		return classify(err)
	}
	s.producer, s.epoch = resp.ProducerID, resp.ProducerEpoch
	s.guard.arm(func(err error) { s.end(lostBecause(err)) })
	return nil
}

// Send implements bus.Sender. It blocks while 16,384 messages or 32 MB have no confirm; when ctx ends meanwhile, what was
// not handed over fails with bus.ErrUnavailable.
func (s *sender) Send(ctx context.Context, batch []bus.Outgoing) bus.Pending {
	p := driver.NewBatch("kafka", &s.mu, len(batch))
	now := time.Now()
	for i := range batch {
		if err := s.hand(ctx, p, i, &batch[i], now); err != nil {
			s.mu.Lock()
			p.Settle(i, fmt.Errorf("kafka: send to %s: %w", driver.Quote(batch[i].Topic), err))
			s.mu.Unlock()
		}
	}
	s.flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	p.Handed()
	return p
}

// flush lets lines send what is there.
func (s *sender) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lines {
		if l.queue.Len() > 0 {
			signal(l.poke)
		}
	}
}

// hand gives one envelope to its partition, or says why not. What it has handed over gets its answer elsewhere.
func (s *sender) hand(ctx context.Context, p *driver.Batch, i int, o *bus.Outgoing, now time.Time) error {
	key := ""
	if o.Envelope != nil {
		key = o.Key
	}
	part, rest, err := s.prepare(ctx, o, key, now)
	if err == nil {
		err = s.enter(ctx, part, rest, slot{p: p, i: i, size: len(rest)}, now.UnixMilli())
	}
	if err != nil {
		return s.refuse(ctx, key, o.MayMiss, err)
	}
	return nil
}

// prepare checks everything that can be checked before sending: what a broker refuses ends the pipe.
func (s *sender) prepare(ctx context.Context, o *bus.Outgoing, key string, now time.Time) (*partition, []byte, error) {
	if err := s.over(); err != nil {
		return nil, nil, err
	}
	if _, failed := s.failed[key]; failed {
		return nil, nil, fmt.Errorf("%w; open another sender", bus.ErrBehindFailed)
	}
	if o.Envelope == nil {
		return nil, nil, fmt.Errorf("%w: there is no envelope; give one", bus.ErrRefused)
	}
	body := len(o.Body)
	for k, v := range o.Headers {
		body += len(k) + len(v)
	}
	if body > s.t.o.MaxBody {
		return nil, nil, fmt.Errorf("%w: %d bytes of body and headers, the limit is %d; send less, or raise MaxBody and the topic's max.message.bytes", bus.ErrTooLarge, body, s.t.o.MaxBody)
	}
	to, err := s.target(ctx, o.Topic, now)
	if err != nil {
		return nil, nil, err
	}
	if to.compacted && key == "" {
		return nil, nil, fmt.Errorf("%w: the topic is compacted, and takes no message without a key; give one", bus.ErrRefused)
	}
	rest, err := s.enc.encode(o)
	if err != nil {
		return nil, nil, err
	}
	if size := batchHead + maxRecord + len(rest); size > to.maxMessage {
		return nil, nil, fmt.Errorf("%w: %d bytes with attributes and headers, max.message.bytes of the topic is %d; send less, or raise it", bus.ErrTooLarge, size, to.maxMessage)
	}
	part, err := s.choose(to, key, len(rest))
	return part, rest, err
}

// choose answers the partition of a key by Java's hash, or one for what has none.
func (s *sender) choose(to *target, key string, size int) (*partition, error) {
	n := len(to.parts)
	if key == "" {
		for range n {
			if to.left -= size; to.left < 0 {
				to.turn, to.left = rand.IntN(n), stickFor
			}
			if part := to.parts[to.turn]; part != nil {
				return part, nil
			}
			to.left = 0
		}
	} else {
		s.record.Key = append(s.record.Key[:0], key...)
		if part := to.parts[s.hash.Partition(&s.record, n)]; part != nil {
			return part, nil
		}
	}
	return nil, fmt.Errorf("%w: the partition has no leader now", bus.ErrUnavailable)
}

// enter waits for room and appends a record to its partition.
func (s *sender) enter(ctx context.Context, part *partition, rest []byte, sl slot, now int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.await(ctx, func() bool { return s.inFlight < mostMessages && (s.bytes == 0 || s.bytes+sl.size <= mostBytes) }); err != nil {
		return err
	}
	s.inFlight++
	s.bytes += sl.size
	if b := part.open; b != nil && len(b.buf)+len(rest)+maxRecord > part.most {
		part.ready.Push(b)
		part.open = nil
	}
	if part.open == nil {
		part.open = &batch{part: part}
		s.live[part.open] = struct{}{}
	}
	part.open.add(rest, now, sl)
	if !part.queued {
		part.queued = true
		part.line.queue.Push(part)
	}
	return nil
}

// await waits until ready answers true, the pipe has ended, or ctx has. mu is held, except while it waits.
func (s *sender) await(ctx context.Context, ready func() bool) error {
	for {
		if s.cause != nil {
			return s.cause
		}
		if ready() {
			return nil
		}
		s.waiting = true
		for _, l := range s.lines {
			signal(l.poke)
		}
		s.mu.Unlock()
		var err error
		select {
		case <-s.room:
		case <-s.gone:
		case <-ctx.Done():
			err = fmt.Errorf("%w: the brokers have not confirmed what is in flight yet: %w", bus.ErrUnavailable, ctx.Err())
		}
		s.mu.Lock()
		s.waiting = false
		if err != nil {
			return err
		}
	}
}

// refuse notes the key of what was not handed over.
func (s *sender) refuse(ctx context.Context, key string, mayMiss bool, err error) error {
	if ctx.Err() != nil && !errors.Is(err, bus.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", bus.ErrUnavailable, err)
	}
	if key != "" && !(mayMiss && errors.Is(err, bus.ErrUnroutable)) {
		s.failed[key] = struct{}{}
	}
	return err
}

// over says why the pipe has ended, or nil.
func (s *sender) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}
