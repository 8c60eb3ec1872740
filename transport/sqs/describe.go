package sqs

import (
	"context"
	"fmt"
	"slices"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Describe answers what topics and groups consist of at AWS: the SNS topic of each topic, and for each topic of a group its queue and
// the subscription between the two; where there is no SNS the queues alone. It asks nobody. CheckTopology says what of it is
// there. Errors wrap bus.ErrRefused.
func (t *Transport) Describe(topics []string, groups ...bus.Subscription) (*Topology, error) {
	var parts []Part
	described := make(map[string]bool) // by name, which queues and topics do not share here
	topic := func(name string) error {
		if err := checkTopic(name); err != nil {
			return fmt.Errorf("%w: %w", bus.ErrRefused, err)
		}
		if !t.hasSNS(name) {
			q, err := t.queueOf(name, "")
			if err == nil && !described["queue "+q.Name] {
				described["queue "+q.Name] = true
				parts = append(parts, q)
			}
			return err
		}
		of, err := t.topicOf(name)
		if err == nil && !described["topic "+of.Name] {
			described["topic "+of.Name] = true
			parts = append(parts, of)
		}
		return err
	}
	for _, name := range topics {
		if err := topic(name); err != nil {
			return nil, fmt.Errorf("sqs: describe the topic %s: %w", driver.Quote(name), err)
		}
	}
	for _, sub := range groups {
		if err := t.o.checkGroup(sub); err != nil {
			return nil, fmt.Errorf("sqs: describe the group %s: %w", driver.Quote(sub.Group), err)
		}
		for _, name := range sub.Topics {
			err := topic(name)
			if err == nil && t.hasSNS(name) {
				var q Queue
				q, err = t.queueOf(name, sub.Group)
				of, _ := t.topicOf(name) // as above
				if !described["queue "+q.Name] {
					described["queue "+q.Name] = true
					parts = append(parts, q, Subscription{Topic: of.Name, Queue: q.Name})
				}
			}
			if err != nil {
				return nil, fmt.Errorf("sqs: describe the group %s: topic %s: %w", driver.Quote(sub.Group), driver.Quote(name), err)
			}
		}
	}
	return t.whole(parts)
}

// whole is a topology of parts, in which queues that SQS itself gives messages to are there.
func (t *Transport) whole(parts []Part) (*Topology, error) {
	for _, p := range slices.Clone(parts) {
		q, ok := p.(Queue)
		if !ok || q.DeadQueue == "" {
			continue
		}
		there := slices.ContainsFunc(parts, func(p Part) bool {
			other, ok := p.(Queue)
			return ok && other.Name == q.DeadQueue
		})
		if !there {
			parts = append(parts, Queue{Name: q.DeadQueue, Existing: true})
		}
	}
	return NewTopology(parts...)
}

// DeclareGroups makes what groups consist of, where it is missing, so that messages wait for a group before its first member
// comes. What is there is used as it is. Errors wrap those of package bus.
func (t *Transport) DeclareGroups(ctx context.Context, groups ...bus.Subscription) error {
	err := t.usable(ctx)
	for _, sub := range groups {
		if err == nil {
			if err = t.o.checkGroup(sub); err != nil {
				err = fmt.Errorf("group %s: %w", driver.Quote(sub.Group), err)
			}
		}
	}
	if err == nil {
		err = t.declareGroups(ctx, groups)
	}
	if err != nil {
		return fmt.Errorf("sqs: declare groups: %w", err)
	}
	return nil
}

func (t *Transport) declareGroups(ctx context.Context, groups []bus.Subscription) error {
	for _, sub := range groups {
		for _, topic := range sub.Topics {
			if _, err := t.groupQueue(ctx, topic, sub.Group); err != nil {
				return fmt.Errorf("group %s: topic %s: %w", driver.Quote(sub.Group), driver.Quote(topic), err)
			}
		}
	}
	return nil
}
