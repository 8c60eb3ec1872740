package sqs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/sixfold-go/sixfold/bus"
)

// A route says where a topic is. It is immutable.
type route struct {
	topic string
	arn   string // of the SNS topic; empty: a queue
	url   string // of the queue
	fifo  bool
	limit int // bytes of a request, and of each message in it
}

// How long an answer is believed. A topic or queue that is deleted meanwhile is noticed by the next request.
const (
	believeFound   = 30 * time.Second
	believeMissing = 200 * time.Millisecond
	mostRoutes     = 10_000
)

// routes remember where topics are. One look-up per topic is under way at a time.
type routes struct {
	mu sync.Mutex
	by map[string]*known
}

type known struct {
	looking chan struct{} // held by who looks
	mu      sync.Mutex
	route   *route
	err     error // unroutable
	until   time.Time
}

func (k *known) answer(now time.Time) (*route, error, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.route, k.err, now.Before(k.until)
}

func (k *known) learn(r *route, err error) {
	believe := believeFound
	if err != nil {
		believe = believeMissing
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.route, k.err, k.until = r, err, time.Now().Add(believe)
}

func (rs *routes) of(topic string) *known {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	k := rs.by[topic]
	if k == nil {
		if rs.by == nil || len(rs.by) >= mostRoutes {
			rs.by = make(map[string]*known)
		}
		k = &known{looking: make(chan struct{}, 1)}
		rs.by[topic] = k
	}
	return k
}

func (rs *routes) forget(topic string) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	delete(rs.by, topic)
}

// route answers where a topic is: bus.ErrUnroutable if nowhere, bus.ErrRefused if it is illegal.
func (t *Transport) route(ctx context.Context, topic string) (*route, error) {
	k := t.routes.of(topic)
	if r, err, ok := k.answer(time.Now()); ok {
		return r, err
	}
	if err := checkTopic(topic); err != nil {
		return nil, fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	select {
	case k.looking <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-k.looking }()
	if r, err, ok := k.answer(time.Now()); ok { // another has looked meanwhile
		return r, err
	}
	r, err := t.find(ctx, topic)
	if err == nil || errors.Is(err, bus.ErrUnroutable) {
		k.learn(r, err)
	}
	return r, err
}

// find looks for the SNS topic, and for the queue of a topic that has none.
func (t *Transport) find(ctx context.Context, topic string) (*route, error) {
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
			return &route{topic: topic, arn: arn, fifo: strings.HasSuffix(of.Name, fifoSuffix), limit: snsLimit}, nil
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
	if most, err := strconv.Atoi(found.attributes["MaximumMessageSize"]); err == nil && most > 0 {
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
			return of, fmt.Errorf("%w: Options.Topic made an SNS topic %s: %w", bus.ErrRefused, quote(of.Name), err)
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
			return q, fmt.Errorf("%w: Options.Queue made a queue %s: %w", bus.ErrRefused, quote(q.Name), err)
		}
	}
	return q, nil
}
