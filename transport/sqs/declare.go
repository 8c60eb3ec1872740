package sqs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// tagGroup of a queue that is a topic names the one group that reads it.
const tagGroup = "sixfold-group"

// Declare makes the SNS topics of topics, and the queues of their dead letters (bus.DeadSuffix), where they are not there;
// with Options.PointToPoint the queues of both. What is there is used as it is. With Options.Require it creates nothing, and
// fails for a topic that is missing. An SNS topic has no place for messages before a queue is subscribed to it.
// Errors wrap those of package bus and name every topic that failed.
func (t *Transport) Declare(ctx context.Context, topics ...string) error {
	var errs []error
	for _, topic := range topics {
		err := t.usable(ctx)
		if err == nil {
			err = t.declare(ctx, topic)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("sqs: declare %s: %w", driver.Quote(topic), err))
		}
	}
	return errors.Join(errs...)
}

func (t *Transport) declare(ctx context.Context, topic string) error {
	for _, name := range []string{topic, topic + bus.DeadSuffix} {
		if err := checkTopic(name); err != nil {
			return fmt.Errorf("%w: %w", bus.ErrRefused, err)
		}
	}
	if _, err := t.declareOne(ctx, topic); err != nil {
		return err
	}
	if strings.HasSuffix(topic, bus.DeadSuffix) {
		return nil
	}
	if _, err := t.declareOne(ctx, topic+bus.DeadSuffix); err != nil {
		if t.o.Require {
			t.o.Logger.Warn("sqs: there is no queue for dead letters; messages that cannot be handled will block", "topic", topic+bus.DeadSuffix)
			return nil
		}
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}

// declareOne answers the ARN of the topic, if it is one of SNS.
func (t *Transport) declareOne(ctx context.Context, topic string) (arn string, err error) {
	defer t.routes.Forget(topic)
	if t.hasSNS(topic) {
		of, err := t.topicOf(topic)
		if err != nil {
			return "", err
		}
		return t.needTopic(ctx, of)
	}
	q, err := t.queueOf(topic, "")
	if err == nil {
		_, err = t.needQueue(ctx, q)
	}
	return "", err
}

// declareOptions declares Options.Topology, Topics and Groups, once.
func (t *Transport) declareOptions(ctx context.Context) error {
	t.mu.Lock()
	done := t.declared
	t.mu.Unlock()
	if done {
		return nil
	}
	if t.o.Topology != nil {
		if err := t.DeclareTopology(ctx, t.o.Topology); err != nil {
			return err
		}
	}
	if err := t.Declare(ctx, t.o.Topics...); err != nil {
		return err
	}
	if err := t.declareGroups(ctx, t.o.Groups); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.declared = true
	return nil
}

// groupQueue answers the queue of a group, made and subscribed where it is not, and looks at what would do harm.
func (t *Transport) groupQueue(ctx context.Context, topic, group string) (*place, error) {
	if err := t.declare(ctx, topic); err != nil {
		return nil, err
	}
	q, err := t.queueOf(topic, group)
	if err != nil {
		return nil, err
	}
	if !t.hasSNS(topic) {
		p, err := t.needQueue(ctx, q)
		if err != nil {
			return nil, err
		}
		t.look(p, "")
		return p, t.claim(ctx, p, group)
	}
	of, err := t.topicOf(topic)
	if err != nil {
		return nil, err
	}
	arn, err := t.needTopic(ctx, of)
	if err != nil {
		return nil, err
	}
	p, err := t.needQueue(ctx, q, arn)
	if err != nil {
		return nil, err
	}
	if _, err := t.needSubscription(ctx, Subscription{Topic: of.Name, Queue: q.Name}, arn, p.arn()); err != nil {
		return nil, err
	}
	t.routes.Forget(topic)
	t.look(p, arn)
	return p, nil
}

// claim makes sure that one group reads a queue that is a topic: two would divide its messages. The queue remembers by a tag.
func (t *Transport) claim(ctx context.Context, p *place, group string) error {
	out, err := ask(ctx, func(ctx context.Context) (*sqs.ListQueueTagsOutput, error) {
		return t.sqs.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &p.url}, twice)
	})
	if err != nil {
		return err
	}
	name := part(group)
	switch owner := out.Tags[tagGroup]; {
	case owner == name:
		return nil
	case owner != "":
		return fmt.Errorf("%w: the queue %s is read by the group %s, and a second one would take messages away from it; use SNS topics (leave Options.PointToPoint out), or remove the queue's tag %s if that group is gone",
			bus.ErrRefused, p.name, driver.Quote(owner), tagGroup)
	case t.o.Require:
		return nil
	}
	_, err = ask(ctx, func(ctx context.Context) (*sqs.TagQueueOutput, error) {
		return t.sqs.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: &p.url, Tags: map[string]string{tagGroup: name}}, twice)
	})
	return err
}

// fewReceives is below what a redrive policy of SQS should allow: deaths and stops count there.
const fewReceives = 100

// look warns about a queue's own settings.
func (t *Transport) look(p *place, topicARN string) {
	if most := maxReceives(p.attributes["RedrivePolicy"]); most > 0 && most < fewReceives {
		t.o.Logger.Warn("sqs: the queue has a redrive policy of its own, by which SQS takes messages away after few receives, those of dead and stopped consumers among them; raise maxReceiveCount or remove it",
			"queue", p.name, "max_receive_count", most)
	}
	if topicARN != "" && !mentions(p.attributes["Policy"], topicARN) {
		t.o.Logger.Warn("sqs: the queue's policy does not name the SNS topic, whose messages it may not take; allow sqs:SendMessage to sns.amazonaws.com for it", "queue", p.name)
	}
}

// mentions reports whether a policy names an ARN, or a pattern.
func mentions(policy, arn string) bool {
	return strings.Contains(policy, arn) || strings.Contains(policy, `:*"`) || strings.Contains(policy, `"*"`) && !strings.Contains(policy, "aws:SourceArn")
}

// maxReceives of a redrive policy, which writes it as a number or as a text; 0: there is none.
func maxReceives(policy string) int {
	var p struct {
		Most json.RawMessage `json:"maxReceiveCount"`
	}
	if json.Unmarshal([]byte(policy), &p) != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.Trim(string(p.Most), `"`))
	return n
}
