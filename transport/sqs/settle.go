package sqs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sixfold-go/sixfold/bus"
)

// settleRequests run at the same time for one call.
const settleRequests = 8

var (
	errLost  = fmt.Errorf("sqs: settle: %w: it was settled, or its visibility has passed", bus.ErrLost)
	errStale = fmt.Errorf("%w: SQS does not know the receipt handle any more", bus.ErrLost)
)

func stale(err error) bool { return errors.Is(err, bus.ErrLost) }

// Settle implements bus.Source: acknowledged ones are deleted, released ones made visible, in batches. Where SQS does not
// answer, the client tries twice more; then the error wraps bus.ErrUnavailable, and the message comes again unless it was
// deleted.
func (s *source) Settle(ctx context.Context, settlements []bus.Settlement) []error {
	errs := make([]error, len(settlements))
	var done, back []*held
	var doneAt, backAt []int
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		for i := range errs {
			errs[i] = fmt.Errorf("sqs: settle: %w", errSourceClosed)
		}
		return errs
	}
	for i := range settlements {
		h := s.own(settlements[i].Delivery)
		switch {
		case h == nil:
			errs[i] = errLost
			continue
		case settlements[i].Release:
			back, backAt = append(back, h), append(backAt, i)
		default:
			done, doneAt = append(done, h), append(doneAt, i)
		}
		h.drop()
	}
	s.mu.Unlock()
	put := func(at []int, results []error) {
		for j, err := range results {
			if err != nil {
				errs[at[j]] = fmt.Errorf("sqs: settle: %w", err)
			}
		}
	}
	put(doneAt, s.t.delete(ctx, done))
	put(backAt, s.t.release(ctx, back))
	return errs
}

// delete acknowledges. It answers one error per message.
func (t *Transport) delete(ctx context.Context, hs []*held) []error {
	return batches(hs, func(url *string, some []*held, errs []error) error {
		in := &sqs.DeleteMessageBatchInput{QueueUrl: url}
		for i, h := range some {
			in.Entries = append(in.Entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &h.handle})
		}
		asked, cancel := context.WithTimeout(ctx, t.o.AckTimeout)
		defer cancel()
		out, err := t.sqs.DeleteMessageBatch(asked, in)
		if err != nil {
			return err
		}
		for _, e := range out.Successful {
			note(errs, e.Id, nil)
		}
		for _, e := range out.Failed {
			note(errs, e.Id, settleError(e))
		}
		return nil
	})
}

// release makes messages visible.
func (t *Transport) release(ctx context.Context, hs []*held) []error {
	return t.visibility(ctx, hs, 0)
}

// extend keeps messages ours for the visibility.
func (t *Transport) extend(ctx context.Context, hs []*held) []error {
	return t.visibility(ctx, hs, t.o.Visibility)
}

func (t *Transport) visibility(ctx context.Context, hs []*held, d time.Duration) []error {
	return batches(hs, func(url *string, some []*held, errs []error) error {
		in := &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: url}
		for i, h := range some {
			in.Entries = append(in.Entries, types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &h.handle, VisibilityTimeout: int32(d / time.Second)})
		}
		asked, cancel := context.WithTimeout(ctx, t.o.AckTimeout)
		defer cancel()
		out, err := t.sqs.ChangeMessageVisibilityBatch(asked, in)
		if err != nil {
			return err
		}
		for _, e := range out.Successful {
			note(errs, e.Id, nil)
		}
		for _, e := range out.Failed {
			note(errs, e.Id, settleError(e))
		}
		return nil
	})
}

// settleError is what a batch's answer says about one receipt handle.
func settleError(e types.BatchResultErrorEntry) error {
	if slices.Contains(staleCodes, value(e.Code)) {
		return errStale
	}
	return entryError(e.Code, e.Message, e.SenderFault)
}

// batches runs f on ten messages of one queue at a time, some of them at once, and answers one error per message.
func batches(hs []*held, f func(url *string, some []*held, errs []error) error) []error {
	errs := make([]error, len(hs))
	byQueue := make(map[*place][]int)
	for i, h := range hs {
		p := h.lot.shelf.place
		byQueue[p] = append(byQueue[p], i)
	}
	slots := make(chan struct{}, settleRequests)
	var all sync.WaitGroup
	for p, at := range byQueue {
		for ten := range slices.Chunk(at, mostEntries) {
			slots <- struct{}{}
			all.Go(func() {
				defer func() { <-slots }()
				some, results := make([]*held, len(ten)), make([]error, len(ten))
				for j, i := range ten {
					some[j], results[j] = hs[i], errNoEntry
				}
				err := f(&p.url, some, results)
				for j, i := range ten {
					if err != nil {
						results[j] = classify(err)
					}
					errs[i] = results[j]
				}
			})
		}
	}
	all.Wait()
	return errs
}
