package sqs

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/sixfold-go/sixfold/bus"
)

// requestLimit bounds a request that is not for messages.
const requestLimit = 10 * time.Second

// ask runs one request of that kind.
func ask[T any](ctx context.Context, f func(ctx context.Context) (T, error)) (T, error) {
	asked, cancel := context.WithTimeout(ctx, requestLimit)
	defer cancel()
	v, err := f(asked)
	switch {
	case err == nil:
		return v, nil
	case ctx.Err() != nil:
		return v, ctx.Err()
	}
	return v, classify(err)
}

// home is how the names of our account's SNS topics begin: SNS finds topics by their whole name only.
type home struct {
	mu     sync.Mutex
	prefix string // "arn:aws:sns:eu-central-1:123456789012:"
}

// learn takes the beginning of any name of SNS or SQS.
func (h *home) learn(arn string) {
	fields := strings.SplitN(arn, ":", 6)
	if len(fields) == 6 {
		h.mu.Lock()
		defer h.mu.Unlock()
		fields[2], fields[5] = "sns", ""
		h.prefix = strings.Join(fields, ":")
	}
}

func (h *home) get() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.prefix
}

// lookTopic answers an SNS topic, or bus.ErrUnroutable.
func (t *Transport) lookTopic(ctx context.Context, name string) (arn string, attributes map[string]string, err error) {
	if t.home.get() == "" {
		out, err := ask(ctx, func(ctx context.Context) (*sns.ListTopicsOutput, error) {
			return t.sns.ListTopics(ctx, &sns.ListTopicsInput{}, twiceSNS)
		})
		if err != nil {
			return "", nil, err
		}
		if len(out.Topics) == 0 {
			return "", nil, fmt.Errorf("%w: there is no SNS topic at all", bus.ErrUnroutable)
		}
		t.home.learn(value(out.Topics[0].TopicArn))
	}
	arn = t.home.get() + name
	out, err := ask(ctx, func(ctx context.Context) (*sns.GetTopicAttributesOutput, error) {
		return t.sns.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn}, twiceSNS)
	})
	if err != nil {
		return "", nil, err
	}
	return arn, out.Attributes, nil
}

// makeTopic makes an SNS topic, or answers the one that is there.
func (t *Transport) makeTopic(ctx context.Context, o Topic) (arn string, err error) {
	in := &sns.CreateTopicInput{Name: &o.Name, Attributes: o.attributes()}
	for k, v := range o.Tags {
		in.Tags = append(in.Tags, snstypes.Tag{Key: &k, Value: &v})
	}
	out, err := ask(ctx, func(ctx context.Context) (*sns.CreateTopicOutput, error) { return t.sns.CreateTopic(ctx, in, twiceSNS) })
	if err != nil {
		return "", fmt.Errorf("create the SNS topic %s: %w", o.Name, err)
	}
	t.home.learn(value(out.TopicArn))
	return value(out.TopicArn), nil
}

// A place is a queue that is there.
type place struct {
	name, url  string
	attributes map[string]string
}

func (p *place) arn() string { return p.attributes["QueueArn"] }

// lookQueue answers a queue, or bus.ErrUnroutable.
func (t *Transport) lookQueue(ctx context.Context, name string) (*place, error) {
	out, err := ask(ctx, func(ctx context.Context) (*sqs.GetQueueUrlOutput, error) {
		return t.sqs.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name}, twice)
	})
	if err != nil {
		return nil, err
	}
	return t.describe(ctx, name, value(out.QueueUrl))
}

func (t *Transport) describe(ctx context.Context, name, url string) (*place, error) {
	out, err := ask(ctx, func(ctx context.Context) (*sqs.GetQueueAttributesOutput, error) {
		return t.sqs.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}}, twice)
	})
	if err != nil {
		return nil, err
	}
	t.home.learn(out.Attributes["QueueArn"])
	return &place{name: name, url: url, attributes: out.Attributes}, nil
}

// makeQueue makes a queue. What may send to it is part of its making, so that nothing is refused in between.
func (t *Transport) makeQueue(ctx context.Context, q Queue, topicARNs ...string) (*place, error) {
	dead := ""
	if q.DeadQueue != "" {
		p, err := t.lookQueue(ctx, q.DeadQueue)
		if err != nil {
			return nil, fmt.Errorf("its DeadQueue %s: %w", q.DeadQueue, err)
		}
		dead = p.arn()
	}
	in := &sqs.CreateQueueInput{QueueName: &q.Name, Attributes: q.attributes(dead), Tags: maps.Clone(q.Tags)}
	if len(topicARNs) > 0 {
		in.Attributes["Policy"] = policy(strings.Replace(t.home.get(), ":sns:", ":sqs:", 1)+q.Name, topicARNs...)
	}
	out, err := ask(ctx, func(ctx context.Context) (*sqs.CreateQueueOutput, error) { return t.sqs.CreateQueue(ctx, in, twice) })
	if err != nil {
		return nil, fmt.Errorf("create the queue %s: %w", q.Name, err)
	}
	return t.describe(ctx, q.Name, value(out.QueueUrl))
}

// needQueue answers a queue, which is made where it is not there and may be.
func (t *Transport) needQueue(ctx context.Context, q Queue, topicARNs ...string) (*place, error) {
	p, err := t.lookQueue(ctx, q.Name)
	switch {
	case !errors.Is(err, bus.ErrUnroutable):
		return p, err
	case t.o.Require:
		return nil, fmt.Errorf("%w: there is no queue %s, and Options.Require forbids to create one", bus.ErrRefused, q.Name)
	case q.Existing:
		return nil, fmt.Errorf("%w: there is no queue %s, which should exist", bus.ErrRefused, q.Name)
	}
	return t.makeQueue(ctx, q, topicARNs...)
}

// needTopic answers an SNS topic in the same way.
func (t *Transport) needTopic(ctx context.Context, o Topic) (arn string, err error) {
	arn, _, err = t.lookTopic(ctx, o.Name)
	switch {
	case !errors.Is(err, bus.ErrUnroutable):
		return arn, err
	case t.o.Require:
		return "", fmt.Errorf("%w: there is no SNS topic %s, and Options.Require forbids to create one", bus.ErrRefused, o.Name)
	case o.Existing:
		return "", fmt.Errorf("%w: there is no SNS topic %s, which should exist", bus.ErrRefused, o.Name)
	}
	return t.makeTopic(ctx, o)
}

// findSubscription answers the subscription of a queue, or nothing.
func (t *Transport) findSubscription(ctx context.Context, topicARN, queueARN string) (arn string, err error) {
	in := &sns.ListSubscriptionsByTopicInput{TopicArn: &topicARN}
	for {
		out, err := ask(ctx, func(ctx context.Context) (*sns.ListSubscriptionsByTopicOutput, error) {
			return t.sns.ListSubscriptionsByTopic(ctx, in, twiceSNS)
		})
		if err != nil {
			return "", err
		}
		for _, s := range out.Subscriptions {
			if value(s.Endpoint) == queueARN {
				return value(s.SubscriptionArn), nil
			}
		}
		if value(out.NextToken) == "" {
			return "", nil
		}
		in.NextToken = out.NextToken
	}
}

// needSubscription subscribes a queue to an SNS topic, if it is not.
func (t *Transport) needSubscription(ctx context.Context, s Subscription, topicARN, queueARN string) (arn string, err error) {
	if arn, err = t.findSubscription(ctx, topicARN, queueARN); err != nil || arn != "" {
		return arn, err
	}
	if t.o.Require {
		return "", fmt.Errorf("%w: the queue %s is not subscribed to the SNS topic %s, and Options.Require forbids to do so", bus.ErrRefused, s.Queue, s.Topic)
	}
	return t.makeSubscription(ctx, s, topicARN, queueARN)
}

func (t *Transport) makeSubscription(ctx context.Context, s Subscription, topicARN, queueARN string) (arn string, err error) {
	protocol := "sqs"
	out, err := ask(ctx, func(ctx context.Context) (*sns.SubscribeOutput, error) {
		return t.sns.Subscribe(ctx, &sns.SubscribeInput{TopicArn: &topicARN, Protocol: &protocol, Endpoint: &queueARN, Attributes: s.attributes(), ReturnSubscriptionArn: true}, twiceSNS)
	})
	if err != nil {
		return "", fmt.Errorf("subscribe the queue %s to the SNS topic %s: %w", s.Queue, s.Topic, err)
	}
	return value(out.SubscriptionArn), nil
}
