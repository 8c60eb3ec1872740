package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

const (
	// mostRequests are under way to one broker at a time.
	mostRequests = 5
	// mostRequest bounds one in bytes before compression.
	mostRequest = 16 << 20
)

// A line is what a sender has with one broker. Its requests go out one after the other by one goroutine, over one
// connection, which the broker serves in order.
type line struct {
	s     *sender
	node  int32
	poke  chan struct{} // at most one token: there may be something to send
	wrote chan struct{} // at most one token: the request has been written

	// Guarded by the sender's mu:
	queue    driver.Queue[*partition] // with something to send
	requests int                      // under way
}

// sent is a batch in a request.
type sent struct {
	b        *batch
	sequence int32
}

func (l *line) run() {
	defer l.s.wg.Done()
	compressor := l.s.t.o.compressor
	var scratch bytes.Buffer
	for {
		select { // not before: what one Send hands over goes out together, not its first message alone
		case <-l.poke:
		case <-l.s.gone:
			return
		}
		for batches := l.take(); len(batches) > 0; batches = l.take() {
			l.issue(batches, l.request(batches, compressor, &scratch))
		}
	}
}

// take chooses what the next request has: at most one batch of each partition, as the protocol wants it.
func (l *line) take() (batches []sent) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause != nil || l.requests == mostRequests {
		return nil
	}
	size := 0
	for n := l.queue.Len(); n > 0 && size < mostRequest; n-- {
		p := l.queue.Pop()
		if !p.may() {
			l.queue.Push(p)
			continue
		}
		b, sequence := p.next()
		size += len(b.buf)
		batches = append(batches, sent{b, sequence})
		if p.queued = p.waits(); p.queued {
			l.queue.Push(p)
		}
	}
	if len(batches) > 0 {
		l.requests++
	}
	return batches
}

func (l *line) request(batches []sent, c kgo.Compressor, scratch *bytes.Buffer) *kmsg.ProduceRequest {
	s := l.s
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, int32(s.t.o.AckTimeout.Milliseconds())
	at := make(map[string]int)
	for _, out := range batches {
		p := out.b.part
		i, there := at[p.topic]
		if !there {
			i = len(req.Topics)
			at[p.topic] = i
			req.Topics = append(req.Topics, kmsg.ProduceRequestTopic{Topic: p.topic})
		}
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, kmsg.ProduceRequestTopicPartition{
			Partition: p.number, Records: out.b.seal(c, scratch, s.producer, s.epoch, out.sequence)})
	}
	return req
}

// issue sends a request and returns when it has been written, so that the next one follows it.
func (l *line) issue(batches []sent, req *kmsg.ProduceRequest) {
	s := l.s
	done := make(chan struct{})
	s.wg.Go(func() {
		defer close(done)
		resp, err := s.cl.Broker(int(l.node)).Request(s.running, req)
		l.answered(batches, resp, err)
	})
	select {
	case <-l.wrote:
	case <-done:
		select { // whose token is there already, if it was written at all
		case <-l.wrote:
		default:
		}
	}
}

// answered takes the broker's answer to a request. Anything but a yes to all of it ends the pipe.
func (l *line) answered(batches []sent, resp kmsg.Response, err error) {
	s := l.s
	if err != nil {
		s.end(lostBecause(classify(err)))
		return
	}
	type at struct {
		topic string
		part  int32
	}
	answers := make(map[at]*kmsg.ProduceResponseTopicPartition, len(batches))
	for i := range resp.(*kmsg.ProduceResponse).Topics {
		t := &resp.(*kmsg.ProduceResponse).Topics[i]
		for j := range t.Partitions {
			answers[at{t.Topic, t.Partitions[j].Partition}] = &t.Partitions[j]
		}
	}
	var cause error
	s.mu.Lock()
	l.requests--
	for _, out := range batches {
		p := out.b.part
		a := answers[at{p.topic, p.number}]
		switch {
		case s.cause != nil: // too late: all of it was answered
		case a == nil:
			cause = errors.Join(cause, fmt.Errorf("%w: a broker did not say what became of partition %d of %s", bus.ErrUnavailable, p.number, driver.Quote(p.topic)))
		case a.ErrorCode == 0:
			p.inFlight-- // behind what was refused nothing goes, not even until the pipe ends
			p.proven = true
			s.confirmed(out.b)
		default:
			cause = errors.Join(cause, s.refused(out.b, a))
		}
	}
	s.freed()
	s.mu.Unlock()
	if cause != nil {
		s.end(lostBecause(cause))
		return
	}
	signal(l.poke)
}

// refused answers for a batch that the broker did not take. What has a reason of its own gets it; the others are in nobody's
// way and go again. mu is held.
func (s *sender) refused(b *batch, a *kmsg.ProduceResponseTopicPartition) error {
	code := kerr.ErrorForCode(a.ErrorCode)
	if a.ErrorMessage != nil && *a.ErrorMessage != "" {
		code = fmt.Errorf("%w (%.200s)", code, *a.ErrorMessage)
	}
	kind := classify(code)
	why := fmt.Errorf("kafka: send to %s: %w", driver.Quote(b.part.topic), kind)
	switch {
	case errors.Is(kind, bus.ErrUnroutable), // a leader may not know a new topic yet; whoever looks it up will see
		errors.Is(kind, bus.ErrTooLarge) && len(b.slots) > 1: // the limit was lowered since it was looked up
		s.forget(b.part.topic)
	case errors.Is(kind, bus.ErrRefused) && len(a.ErrorRecords) > 0:
		for _, r := range a.ErrorRecords {
			if i := int(r.RelativeOffset); i >= 0 && i < len(b.slots) {
				s.settle(b, i, why)
			}
		}
	case errors.Is(kind, bus.ErrRefused), errors.Is(kind, bus.ErrTooLarge):
		for i := range b.slots {
			s.settle(b, i, why)
		}
	}
	return fmt.Errorf("partition %d of %s: %w", b.part.number, driver.Quote(b.part.topic), code)
}

// wire sees the client's requests: when one has been written, the next may follow.
type wire struct{ s *sender }

// OnBrokerWrite implements kgo.HookBrokerWrite.
func (w wire) OnBrokerWrite(meta kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key != int16(kmsg.Produce) {
		return
	}
	w.s.mu.Lock()
	l := w.s.lines[meta.NodeID]
	w.s.mu.Unlock()
	if l != nil {
		signal(l.wrote)
	}
}

// signal leaves a token, unless there is one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// lostBecause is the end of a pipe that nobody here closed.
func lostBecause(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: the sender ended; open another", bus.ErrUnavailable)
	}
	return fmt.Errorf("%w: the pipe is broken: %v; open another sender", bus.ErrUnavailable, err) // no other kind: it is not this message's
}
