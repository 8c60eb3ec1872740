package sqs

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sixfold-go/sixfold"
	"github.com/sixfold-go/sixfold/bus"
)

// Pauses after a failure.
const (
	firstPause = 50 * time.Millisecond
	mostPause  = 5 * time.Second
)

// poller asks a queue for messages while there is room and demand. The first of a queue always does; the others join while full
// answers come, so that an idle queue costs one request per LongPoll.
func (s *source) poller(p *shelf, first bool) {
	var pause time.Duration
	for {
		if !first {
			select {
			case <-p.more:
			case <-s.gone:
				return
			}
		}
		for full := true; full || first; {
			n := s.reserve()
			if n == 0 {
				return
			}
			got, err := s.poll(p, n)
			full = got == n
			if got == mostEntries {
				select {
				case p.more <- struct{}{}:
				default:
				}
			}
			if err == nil {
				pause = 0
				continue
			}
			pause = min(max(2*pause, firstPause), mostPause)
			if !s.rest(pause) {
				return
			}
		}
	}
}

// rest waits, and reports whether there is something left to do.
func (s *source) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.gone:
		return false
	}
}

// reserve waits until messages can be taken, and answers how many; 0: the source has ended. Before the first Receive, and without
// one for a third of the visibility, nothing is asked for: it would only pass unhandled, and a FIFO queue would hold its groups back.
func (s *source) reserve() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed || s.failed != nil {
			return 0
		}
		most := 2 * mostEntries * s.t.o.Pollers * len(s.parts) // what may wait to be received
		room := min(mostEntries, s.max-s.held-s.buffered-s.asked, most-s.buffered-s.asked)
		if room > 0 && (s.bell.Awaited() || time.Since(s.received) < s.t.o.Visibility/3) {
			s.asked += room
			return room
		}
		s.change.Wait()
	}
}

// shortPoll is how long a request waits for more while something is held.
const shortPoll = time.Second

// poll asks once. It answers how many came. While something is held it does not wait for long, so that Close can let it end
// before it gives anything back.
func (s *source) poll(p *shelf, n int) (int, error) {
	attempt, wait := "", s.t.o.LongPoll
	s.mu.Lock()
	if s.held+s.buffered > 0 {
		wait = shortPoll
	}
	s.mu.Unlock()
	if p.fifo {
		attempt = sixfold.NewID()
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.t.o.LongPoll+s.t.o.AckTimeout)
	messages, err := s.t.receive(ctx, p, n, wait, attempt)
	cancel()
	came := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked -= n
	if err != nil {
		if s.ctx.Err() != nil {
			p.owed = append(p.owed, attempt)
			return 0, err
		}
		kind := classify(err)
		if errors.Is(kind, bus.ErrRefused) || errors.Is(kind, bus.ErrUnroutable) {
			if !errors.Is(kind, bus.ErrRefused) {
				kind = errors.Join(bus.ErrRefused, kind)
			}
			s.fail(kind)
		} else {
			s.t.o.Logger.Warn("sqs: a queue cannot be asked for messages; it is tried again", "queue", p.place.name, "err", kind)
		}
		s.change.Broadcast()
		return 0, err
	}
	s.add(p, messages, came)
	s.change.Broadcast()
	return len(messages), nil
}

// add puts what came where Receive finds it. The visibility began when SQS sent the answer: a tenth of it is given up for the
// way, until an extension tells more exactly. mu is held.
func (s *source) add(p *shelf, messages []types.Message, came time.Time) *lot {
	if len(messages) == 0 {
		return nil
	}
	l := s.newLot(p, came.Add(s.t.o.Visibility*9/10))
	for i := range messages {
		m := &messages[i]
		h := &held{handle: value(m.ReceiptHandle), lot: l, live: true}
		h.delivery.Topic, h.delivery.Token, h.delivery.Owned = p.topic, h, l.owned
		read(&h.delivery, m)
		l.all = append(l.all, h)
		l.live++
		s.buf.Push(h)
		s.buffered++
	}
	s.bell.Ring()
	return l
}

// receive is one request.
func (t *Transport) receive(ctx context.Context, p *shelf, n int, wait time.Duration, attempt string) ([]types.Message, error) {
	in := &sqs.ReceiveMessageInput{QueueUrl: &p.place.url, MaxNumberOfMessages: int32(n), WaitTimeSeconds: int32(wait / time.Second), VisibilityTimeout: int32(t.o.Visibility / time.Second),
		MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount}}
	if attempt != "" {
		in.ReceiveRequestAttemptId = &attempt
	}
	out, err := t.sqs.ReceiveMessage(ctx, in, once)
	if err != nil {
		return nil, err
	}
	return out.Messages, nil
}

// collect asks a FIFO queue again for the answers that a closed source did not wait for, so that what they had can be given
// back and its groups do not wait for the visibility. Standard queues have no such means.
func (s *source) collect(ctx context.Context, p *shelf) (all []*held) {
	if !p.fifo {
		return nil
	}
	for _, attempt := range p.owed {
		asked, cancel := context.WithTimeout(ctx, requestLimit)
		messages, err := s.t.receive(asked, p, mostEntries, 0, attempt)
		cancel()
		if err != nil {
			return all
		}
		for i := range messages {
			all = append(all, &held{handle: value(messages[i].ReceiptHandle), lot: &lot{shelf: p}})
		}
	}
	return all
}
