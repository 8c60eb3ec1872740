package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/request"
)

// requestWire is what ports and ears have in common: a client that sends, a goroutine that hands packets to it, and goroutines
// that read.
type requestWire struct {
	l       *RequestLane
	cl      *kgo.Client
	reading sync.WaitGroup
	ctx     context.Context // of reading
	end     context.CancelFunc

	out     chan parcel
	stop    chan struct{} // closed by Close: what is in out goes, and nothing after it
	written chan struct{} // closed when the goroutine that sends has ended

	mu     sync.RWMutex // held for reading while something is put into out
	closed bool
}

// A parcel is a record, and until when it may be written.
type parcel struct {
	*kgo.Record
	until time.Time
}

// maxParcels is how many records wait for the client, and how many of them are handed to it at once.
const maxParcels = 256

func newRequestWire(l *RequestLane) *requestWire {
	w := &requestWire{l: l, out: make(chan parcel, maxParcels), stop: make(chan struct{}), written: make(chan struct{})}
	w.ctx, w.end = context.WithCancel(context.Background())
	return w
}

// produceWith makes the client. It repeats nothing: what is written and not confirmed may have arrived, and a repeat would
// run twice, or after its deadline; what a broker has refused is this lane's to repeat (write). What it sends goes to the partitions in turn, so that all who listen get some.
func (w *requestWire) produceWith(opts ...kgo.Opt) (err error) {
	const attributes = 16 << 10
	w.cl, err = w.l.t.client(w.l.t.dial, append([]kgo.Opt{kgo.DisableIdempotentWrite(), kgo.RecordRetries(0), kgo.RequiredAcks(kgo.LeaderAck()), kgo.ProducerLinger(0),
		kgo.ProducerBatchMaxBytes(int32(w.l.t.o.MaxBody + attributes)), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.MetadataMinAge(250 * time.Millisecond), kgo.UnknownTopicRetries(0)}, opts...)...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	go w.write()
	return nil
}

// send hands a packet to the goroutine that sends.
func (w *requestWire) send(ctx context.Context, topic string, head kgo.RecordHeader, key []byte, p *request.Packet) error {
	if n := len(p.Envelope.Body); n > w.l.t.o.MaxBody {
		return fmt.Errorf("kafka: %w: %d bytes of body, the limit is %d; send less, or raise MaxBody and the topic's max.message.bytes", bus.ErrTooLarge, n, w.l.t.o.MaxBody)
	}
	heads, err := p.AppendHeaders(nil, requestBinding)
	if err != nil {
		return fmt.Errorf("kafka: %w: %w", bus.ErrRefused, err)
	}
	r := &kgo.Record{Topic: topic, Key: key, Value: p.Envelope.Body}
	for _, h := range heads {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Name, Value: []byte(h.Value)})
	}
	if head.Key != "" {
		r.Headers = append(r.Headers, head)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return fmt.Errorf("kafka: %w: it was closed", bus.ErrUnavailable)
	}
	until, bounded := ctx.Deadline()
	if !bounded {
		until = time.Now().Add(requestLimit)
	}
	select {
	case w.out <- parcel{r, until}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// write hands records to the client until Close, and the next ones when it has done with those before. The client writes several records of one
// topic together, and looks at the context of one of them: what waits in it may be written after its own deadline behind another's
// that has more time. So nothing waits there but what was handed over at once, under the earliest deadline of all.
func (w *requestWire) write() {
	defer close(w.written)
	for {
		select {
		case first := <-w.out:
			w.writeWith(first)
		case <-w.stop:
			for {
				select {
				case first := <-w.out:
					w.writeWith(first)
				default:
					return
				}
			}
		}
	}
}

// writeWith writes first and what else waits, but for what has waited too long.
func (w *requestWire) writeWith(first parcel) {
	group := []parcel{first}
	for len(group) > 0 {
		for more := true; more && len(group) < maxParcels; {
			select {
			case p := <-w.out:
				group = append(group, p)
			default:
				more = false
			}
		}
		if group = w.writeGroup(group); len(group) > 0 {
			w.cl.ForceMetadataRefresh() // else the client waits for minutes before it asks who leads
			if !pause(w.ctx, writePause) {
				return
			}
		}
	}
}

// writePause is before what was refused is written again.
const writePause = 20 * time.Millisecond

// writeGroup writes what has time, and answers what a broker refused because it does not lead the partition, as happens when a topic is
// new and when a leader moves: nothing of that was written, so it may be written again.
func (w *requestWire) writeGroup(group []parcel) (refused []parcel) {
	now, earliest := time.Now(), time.Time{}
	group = slices.DeleteFunc(group, func(p parcel) bool { return !p.until.After(now) })
	for _, p := range group {
		if earliest.IsZero() || p.until.Before(earliest) {
			earliest = p.until
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), earliest)
	defer cancel()
	var over sync.WaitGroup
	var mu sync.Mutex // guards refused
	for _, p := range group {
		over.Add(1)
		p.Context = ctx // that of a try before is over
		w.cl.TryProduce(ctx, p.Record, func(r *kgo.Record, err error) {
			defer over.Done()
			switch {
			case err == nil:
			case errors.Is(err, kerr.NotLeaderForPartition), errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.LeaderNotAvailable):
				mu.Lock()
				defer mu.Unlock()
				refused = append(refused, p)
			default:
				w.l.t.o.Logger.Debug("kafka: a request or a reply could not be sent", "topic", r.Topic, "err", err)
			}
		})
	}
	over.Wait()
	return refused
}

// read takes what comes until the client is closed or the wire ends. What is committed is handed over after that, so that nobody gets
// it again; what cannot be committed belongs to another. Between a poll and its commit no partition goes to another member: a commit that
// came after that would be accepted, and the other one has the requests too.
func (w *requestWire) read(cl *kgo.Client, commit bool, take func(r *kgo.Record)) {
	for {
		fetches := cl.PollFetches(w.ctx)
		if w.ctx.Err() != nil || fetches.IsClientClosed() {
			cl.AllowRebalance()
			return
		}
		fetches.EachError(func(topic string, _ int32, err error) {
			w.l.t.o.Logger.Debug("kafka: requests or replies cannot be fetched; it is tried again", "topic", topic, "err", err)
		})
		records := fetches.Records()
		if len(records) == 0 {
			cl.AllowRebalance()
			pause(w.ctx, fetchPause)
			continue
		}
		if commit {
			err := cl.CommitRecords(w.ctx, records...)
			cl.AllowRebalance()
			if err != nil {
				w.l.t.o.Logger.Warn("kafka: requests could not be committed, and are left to others", "requests", len(records), "err", err)
				continue
			}
		}
		for _, r := range records {
			take(r)
		}
	}
}

// fetchPause is between two fetches that answered nothing but errors.
const fetchPause = 20 * time.Millisecond

// Close implements request.Port.
func (w *requestWire) Close(ctx context.Context) error {
	w.mu.Lock()
	first := !w.closed
	w.closed = true
	w.mu.Unlock()
	if w.cl == nil {
		return nil
	}
	if first {
		close(w.stop)
		select { // what was handed over goes out
		case <-w.written:
		case <-ctx.Done():
		}
		w.end()
	}
	return until(ctx, func() {
		w.reading.Wait()
		w.cl.Close() // which ends what the client has not written
		<-w.written
	})
}

// requestRoom is a destination of an ear: a member of its group.
type requestRoom struct {
	cl       *kgo.Client
	reading  sync.WaitGroup
	assigned chan struct{}
}

// is says that the group has taken it in.
func (r *requestRoom) is() {
	select {
	case r.assigned <- struct{}{}:
	default:
	}
}

// await waits until it is a member.
func (r *requestRoom) await(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 2*requestLimit)
	defer cancel()
	select {
	case <-r.assigned:
		return nil
	case <-limited.Done():
		return fmt.Errorf("kafka: listen: %w: the group did not take this process in within %v", bus.ErrUnavailable, 2*requestLimit)
	}
}

// leave ends the membership, and returns when what was fetched has been handed over.
func (r *requestRoom) leave(ctx context.Context) error {
	return until(ctx, func() {
		r.cl.CloseAllowingRebalance()
		r.reading.Wait()
	})
}

// until waits for f as long as ctx lasts.
func until(ctx context.Context, f func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readPacket makes the packet of a record, with the address for answers that it states.
func readPacket(r *kgo.Record) *request.Packet {
	replyTo := ""
	p := request.ReadPacket(requestBinding, func(yield func(string, string) bool) {
		for _, h := range r.Headers {
			if h.Key == headerReplyTo {
				replyTo = string(h.Value)
			} else if !yield(h.Key, string(h.Value)) {
				return
			}
		}
	}, r.Value)
	p.ReplyTo = replyTo
	return p
}
