package sqs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sixfold-go/sixfold/bus"
)

// A copy has a queue of its own, which ends with it. Where the process has died, another copy of the topic sweeps it, by the time
// that its owner wrote last.
const (
	tagSeen         = "sixfold-seen"         // seconds since 1970, by the owner's clock
	tagSubscription = "sixfold-subscription" // its ARN
	seenEvery       = time.Hour
	sweepAfter      = 12 * time.Hour
	copyRetention   = 24 * time.Hour
)

// copied is the queue of a copy.
type copied struct {
	place        *place
	subscription string // ARN
}

func (t *Transport) newCopy(ctx context.Context, topic string) (*copied, error) {
	if err := t.declare(ctx, topic); err != nil {
		return nil, err
	}
	if !t.hasSNS(topic) {
		return nil, errors.Join(bus.ErrRefused, errors.New("dead letters are a queue, of which there are no copies; name a group"))
	}
	of, err := t.topicOf(topic)
	if err != nil {
		return nil, err
	}
	topicARN, err := t.needTopic(ctx, of)
	if err != nil {
		return nil, err
	}
	t.sweep(ctx, topic)
	var number [8]byte
	_, _ = rand.Read(number[:]) // which never fails
	q := Queue{Name: t.o.copyPrefix(topic) + hex.EncodeToString(number[:]), Retention: copyRetention, Tags: map[string]string{tagSeen: now()}}
	if fifoName(of.Name) {
		q.Name += fifoSuffix
	}
	c := &copied{}
	if c.place, err = t.makeQueue(ctx, q, topicARN); err != nil {
		return nil, err
	}
	c.subscription, err = t.makeSubscription(ctx, Subscription{Topic: of.Name, Queue: q.Name}, topicARN, c.place.arn())
	if err == nil {
		err = t.tag(ctx, c.place.url, map[string]string{tagSubscription: c.subscription})
	}
	if err != nil {
		return nil, errors.Join(err, t.endCopy(context.WithoutCancel(ctx), c))
	}
	t.routes.Forget(topic)
	return c, nil
}

func now() string { return strconv.FormatInt(time.Now().Unix(), 10) }

func (t *Transport) tag(ctx context.Context, url string, tags map[string]string) error {
	_, err := ask(ctx, func(ctx context.Context) (*sqs.TagQueueOutput, error) {
		return t.sqs.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: &url, Tags: tags}, twice)
	})
	return err
}

// keepCopy says every hour that the copy's owner lives.
func (t *Transport) keepCopy(ctx context.Context, c *copied) {
	ticker := time.NewTicker(seenEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := t.tag(ctx, c.place.url, map[string]string{tagSeen: now()}); err != nil && ctx.Err() == nil {
				t.o.Logger.Warn("sqs: the queue of a copy cannot be marked as alive; others delete it in some hours", "queue", c.place.name, "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// endCopy removes the queue and its subscription.
func (t *Transport) endCopy(ctx context.Context, c *copied) error {
	var errs []error
	if c.subscription != "" {
		_, err := ask(ctx, func(ctx context.Context) (*sns.UnsubscribeOutput, error) {
			return t.sns.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: &c.subscription}, twiceSNS)
		})
		if err != nil && !errors.Is(err, bus.ErrUnroutable) {
			errs = append(errs, err)
		}
	}
	_, err := ask(ctx, func(ctx context.Context) (*sqs.DeleteQueueOutput, error) {
		return t.sqs.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &c.place.url}, twice)
	})
	if err != nil && !errors.Is(err, bus.ErrUnroutable) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// sweep deletes the queues of copies of a topic whose owners have not been seen for long. What fails is left to the next one.
func (t *Transport) sweep(ctx context.Context, topic string) {
	prefix := t.o.copyPrefix(topic)
	out, err := ask(ctx, func(ctx context.Context) (*sqs.ListQueuesOutput, error) {
		return t.sqs.ListQueues(ctx, &sqs.ListQueuesInput{QueueNamePrefix: &prefix}, twice)
	})
	if err != nil {
		return
	}
	for _, url := range out.QueueUrls {
		tags, err := ask(ctx, func(ctx context.Context) (*sqs.ListQueueTagsOutput, error) {
			return t.sqs.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url}, twice)
		})
		if err != nil {
			continue
		}
		seen, err := strconv.ParseInt(tags.Tags[tagSeen], 10, 64)
		if err != nil || time.Since(time.Unix(seen, 0)) < sweepAfter {
			continue
		}
		name := url[strings.LastIndexByte(url, '/')+1:]
		if err := t.endCopy(ctx, &copied{place: &place{name: name, url: url}, subscription: tags.Tags[tagSubscription]}); err == nil {
			t.o.Logger.Info("sqs: the queue of a copy whose owner is gone was deleted", "queue", name)
		}
	}
}
