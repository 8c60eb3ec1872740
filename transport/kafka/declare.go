package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// Declare makes topics, and those of their dead letters (bus.DeadSuffix, one partition, kept for ever), where they are not
// there; topics that are there are used as they are. With Options.Require it creates nothing, and fails for a topic that is
// missing. Errors wrap those of package bus and name every topic that failed.
func (t *Transport) Declare(ctx context.Context, topics ...string) error {
	var errs []error
	for _, topic := range topics {
		if err := t.declare(ctx, topic); err != nil {
			errs = append(errs, fmt.Errorf("kafka: declare %s: %w", driver.Quote(topic), err))
		}
	}
	return errors.Join(errs...)
}

// DeclareTopology makes the topics that are not there, and leaves the others alone: CheckTopology says how they differ. With
// Options.Require it only looks.
func (t *Transport) DeclareTopology(ctx context.Context, topology *Topology) error {
	var errs []error
	for _, topic := range topology.Topics() {
		if err := t.make(ctx, topic); err != nil {
			errs = append(errs, fmt.Errorf("kafka: declare the topology: topic %s: %w", driver.Quote(topic.Name), err))
		}
	}
	return errors.Join(errs...)
}

// declareOptions declares Options.Topology and Options.Topics, once.
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
	t.mu.Lock()
	defer t.mu.Unlock()
	t.declared = true
	return nil
}

func (t *Transport) declare(ctx context.Context, topic string) error {
	if err := t.make(ctx, Topic{Name: topic}); err != nil {
		return err
	}
	if isDead(topic) {
		return nil
	}
	dead := topic + bus.DeadSuffix
	err := t.make(ctx, Topic{Name: dead, Partitions: 1, Config: map[string]string{"retention.ms": "-1"}})
	if err != nil && t.o.Require {
		t.o.Logger.Warn("kafka: there is no topic for dead letters; messages that cannot be handled will block", "topic", dead)
		return nil
	}
	if err != nil {
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}

// make creates a topic where it is not there.
func (t *Transport) make(ctx context.Context, topic Topic) error {
	if err := checkTopic(topic.Name); err != nil {
		return fmt.Errorf("%w: %w", bus.ErrRefused, err)
	}
	err := t.manage(ctx, func(ctx context.Context, c *kgo.Client) error {
		_, err := lookUp(ctx, c, topic.Name)
		return err
	})
	if !errors.Is(err, bus.ErrUnroutable) {
		return err
	}
	if t.o.Require {
		return fmt.Errorf("%w: there is no topic %s, and Options.Require forbids to create one; create it (sixfold bus declare, or kafka-topics.sh --create)", bus.ErrRefused, driver.Quote(topic.Name))
	}
	if topic.Partitions == 0 {
		topic.Partitions = t.o.Partitions
	}
	if topic.Replication == 0 {
		topic.Replication = t.o.Replication
	}
	if t.o.Topic != nil {
		name := topic.Name
		t.o.Topic(&topic)
		if topic.Name != name {
			return fmt.Errorf("%w: Options.Topic changed the name to %s; leave it", bus.ErrRefused, driver.Quote(topic.Name))
		}
	}
	config := make(map[string]*string, len(topic.Config))
	for k, v := range topic.Config {
		config[k] = kadm.StringPtr(v)
	}
	return t.manage(ctx, func(ctx context.Context, c *kgo.Client) error {
		resp, err := kadm.NewClient(c).CreateTopic(ctx, int32(topic.Partitions), int16(topic.Replication), config, topic.Name)
		if err == nil {
			err = resp.Err
		}
		if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) { // which another has made meanwhile
			if resp.ErrMessage != "" {
				err = fmt.Errorf("%w (%.200s)", err, resp.ErrMessage)
			}
			return classify(err)
		}
		return t.appears(ctx, c, topic.Name)
	})
}

// appears waits until the brokers know a new topic.
func (t *Transport) appears(ctx context.Context, c *kgo.Client, topic string) error {
	for wait := pollEvery; ; wait *= 2 {
		found, err := lookUp(ctx, c, topic)
		if err == nil && !slices.Contains(found.leaders, -1) {
			return nil
		}
		if err != nil && !errors.Is(err, bus.ErrUnroutable) && !errors.Is(err, bus.ErrUnavailable) {
			return err
		}
		if !pause(ctx, wait) {
			return fmt.Errorf("%w: the topic was created, and the brokers do not know it yet", bus.ErrUnavailable)
		}
	}
}
