package sqs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// A route says where a topic is. It is immutable.
type route struct {
	topic string
	arn   string // of the SNS topic; empty: a queue
	url   string // of the queue
	fifo  bool
	limit int // bytes of a request, and of each message in it
}

// attrMaxSize of a queue or an SNS topic is the most that a request, and each message in it, may have. SNS has 256 KiB where nobody set it.
const attrMaxSize = "MaximumMessageSize"

// route answers where a topic is: bus.ErrUnroutable if nowhere, bus.ErrRefused if it is illegal.
func (t *Transport) route(ctx context.Context, topic string) (*route, error) {
	return t.routes.Find(ctx, topic, t.find)
}

// find looks for the SNS topic, and for the queue of a topic that has none.
func (t *Transport) find(ctx context.Context, topic string) (*route, error) {
	if err := checkTopic(topic); err != nil {
		return nil, fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	if t.hasSNS(topic) {
		of, err := t.topicOf(topic)
		if err != nil {
			return nil, err
		}
		arn, attributes, err := t.lookTopic(ctx, of.Name)
		switch {
		case err == nil && attributes["SubscriptionsConfirmed"] == "0" && t.unheard(ctx, arn):
			return nil, fmt.Errorf("%w: no queue is subscribed to the SNS topic %s, which would drop the message; subscribe a group", bus.ErrUnroutable, of.Name)
		case err == nil:
			r := &route{topic: topic, arn: arn, fifo: strings.HasSuffix(of.Name, fifoSuffix), limit: snsLimit}
			if most, err := strconv.Atoi(attributes[attrMaxSize]); err == nil && most > 0 {
				r.limit = min(sqsLimit, most)
			}
			return r, nil
		case !errors.Is(err, bus.ErrUnroutable):
			return nil, err
		}
		return nil, fmt.Errorf("%w: there is no SNS topic %s; declare the topic, or subscribe a group", bus.ErrUnroutable, of.Name)
	}
	q, err := t.queueOf(topic, "")
	if err != nil {
		return nil, err
	}
	found, err := t.lookQueue(ctx, q.Name)
	if errors.Is(err, bus.ErrUnroutable) {
		return nil, fmt.Errorf("%w: there is no queue %s; declare the topic, or subscribe a group", bus.ErrUnroutable, q.Name)
	}
	if err != nil {
		return nil, err
	}
	r := &route{topic: topic, url: found.url, fifo: strings.HasSuffix(q.Name, fifoSuffix), limit: sqsLimit}
	if most, err := strconv.Atoi(found.attributes[attrMaxSize]); err == nil && most > 0 {
		r.limit = min(r.limit, most)
	}
	return r, nil
}

// unheard reports whether really no queue is subscribed: the number among a topic's attributes lags behind.
func (t *Transport) unheard(ctx context.Context, arn string) bool {
	out, err := ask(ctx, func(ctx context.Context) (*sns.ListSubscriptionsByTopicOutput, error) {
		return t.sns.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: &arn}, twiceSNS)
	})
	return err != nil || len(out.Subscriptions) == 0
}

// hasSNS reports whether a topic is one of SNS. Dead letters are read by one group, people, and need none.
func (t *Transport) hasSNS(topic string) bool {
	return t.sns != nil && !strings.HasSuffix(topic, bus.DeadSuffix)
}

// topicOf describes the SNS topic of a topic.
func (t *Transport) topicOf(topic string) (Topic, error) {
	of := Topic{Name: t.o.topicName(topic)}
	if t.o.Topic != nil {
		t.o.Topic(topic, &of)
		if err := of.check(); err != nil {
			return of, fmt.Errorf("%w: Options.Topic made an SNS topic %s: %w", bus.ErrRefused, driver.Quote(of.Name), err)
		}
	}
	return of, nil
}

// queueOf describes the queue of a group, or, without a group, of a topic that has no SNS topic.
func (t *Transport) queueOf(topic, group string) (Queue, error) {
	q := Queue{Name: t.o.queueName(topic, group)}
	if group == "" || !t.hasSNS(topic) {
		q.Name = t.o.topicName(topic)
	}
	if t.o.Queue != nil {
		if !t.hasSNS(topic) {
			group = ""
		}
		t.o.Queue(topic, group, &q)
		if err := q.check(); err != nil {
			return q, fmt.Errorf("%w: Options.Queue made a queue %s: %w", bus.ErrRefused, driver.Quote(q.Name), err)
		}
	}
	return q, nil
}
