package sqs

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/cloudevents"
)

// mostEntries of a batch, of every kind.
const mostEntries = 10

// errNoEntry is the answer for an entry that the service did not mention.
var errNoEntry = fmt.Errorf("%w: the service's answer does not mention the message, which is in doubt", bus.ErrUnavailable)

// post sends a batch, once, and answers one error per message. lost says that there was no answer, so that all are in doubt.
func (t *Transport) post(ctx context.Context, r *route, batch []*item) (errs []error, lost error) {
	errs = make([]error, len(batch))
	for i := range errs {
		errs[i] = errNoEntry
	}
	var err error
	if r.arn != "" {
		err = t.publish(ctx, r, batch, errs)
	} else {
		err = t.sendQueue(ctx, r, batch, errs)
	}
	if err == nil {
		return errs, nil
	}
	if missing(err) {
		t.routes.Forget(r.topic)
	}
	kind := classify(err)
	if !answered(err) && !errors.Is(kind, bus.ErrRefused) {
		lost = kind
		if ctx.Err() != nil {
			kind = errUnconfirmed
		}
	}
	for i := range errs {
		errs[i] = kind
	}
	return errs, lost
}

// sendQueue sends a batch to a queue.
func (t *Transport) sendQueue(ctx context.Context, r *route, batch []*item, errs []error) error {
	in := &sqs.SendMessageBatchInput{QueueUrl: &r.url, Entries: make([]sqstypes.SendMessageBatchRequestEntry, len(batch))}
	for i, it := range batch {
		in.Entries[i] = sqstypes.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: &it.text, MessageAttributes: map[string]sqstypes.MessageAttributeValue{
			attrName: {DataType: aws.String(attrType), StringValue: aws.String(cloudevents.ContentType)}}}
		if r.fifo {
			in.Entries[i].MessageGroupId, in.Entries[i].MessageDeduplicationId = &it.group, &it.dedup
		}
	}
	out, err := t.sqs.SendMessageBatch(ctx, in, once)
	if err != nil {
		return err
	}
	for _, e := range out.Successful {
		note(errs, e.Id, nil)
	}
	for _, e := range out.Failed {
		note(errs, e.Id, entryError(e.Code, e.Message, e.SenderFault))
	}
	return nil
}

// publish sends a batch to a topic.
func (t *Transport) publish(ctx context.Context, r *route, batch []*item, errs []error) error {
	in := &sns.PublishBatchInput{TopicArn: &r.arn, PublishBatchRequestEntries: make([]snstypes.PublishBatchRequestEntry, len(batch))}
	for i, it := range batch {
		in.PublishBatchRequestEntries[i] = snstypes.PublishBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), Message: &it.text, MessageAttributes: map[string]snstypes.MessageAttributeValue{
			attrName: {DataType: aws.String(attrType), StringValue: aws.String(cloudevents.ContentType)}}}
		if r.fifo {
			in.PublishBatchRequestEntries[i].MessageGroupId, in.PublishBatchRequestEntries[i].MessageDeduplicationId = &it.group, &it.dedup
		}
	}
	out, err := t.sns.PublishBatch(ctx, in, onceSNS)
	if err != nil {
		return err
	}
	for _, e := range out.Successful {
		note(errs, e.Id, nil)
	}
	for _, e := range out.Failed {
		note(errs, e.Id, entryError(e.Code, e.Message, e.SenderFault))
	}
	return nil
}

// note puts the answer of an entry in its place.
func note(errs []error, id *string, err error) {
	if i, perr := strconv.Atoi(value(id)); perr == nil && i >= 0 && i < len(errs) {
		errs[i] = err
	}
}
