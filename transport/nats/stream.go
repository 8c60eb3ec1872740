package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// streamAge is how long a created stream keeps messages.
const streamAge = 7 * 24 * time.Hour

// Declare makes the streams of topics and of their dead letters (bus.DeadSuffix) that are not there, and leaves those that
// are as they are. With Options.Require it creates nothing, and fails for a topic without a stream. Errors wrap those
// of package bus and name every topic that failed.
func (t *Transport) Declare(ctx context.Context, topics ...string) error {
	var errs []error
	for _, topic := range topics {
		if err := t.declare(ctx, topic); err != nil {
			errs = append(errs, fmt.Errorf("nats: declare %s: %w", driver.Quote(topic), err))
		}
	}
	return errors.Join(errs...)
}

// declareOptions declares Options.Topics, once.
func (t *Transport) declareOptions(ctx context.Context) error {
	t.mu.Lock()
	done := t.declared
	t.mu.Unlock()
	if done || len(t.o.Topics) == 0 {
		return nil
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
	return t.declareWith(ctx, topic, nil)
}

// declareWith lets change see to the configuration of the topic's own stream.
func (t *Transport) declareWith(ctx context.Context, topic string, change func(*jetstream.StreamConfig)) error {
	if _, err := t.declareOne(ctx, topic, change); err != nil {
		return err
	}
	if _, err := t.declareOne(ctx, topic+bus.DeadSuffix, nil); err != nil {
		if t.o.Require {
			t.o.Logger.Warn("nats: there is no stream for dead letters; messages that cannot be handled will block", "topic", topic+bus.DeadSuffix)
			return nil
		}
		return fmt.Errorf("dead letters: %w", err)
	}
	return nil
}

// declareOne answers the route of a topic, whose stream it makes where it is not there.
func (t *Transport) declareOne(ctx context.Context, topic string, change func(*jetstream.StreamConfig)) (*route, error) {
	r, err := t.route(ctx, topic)
	if errors.Is(err, bus.ErrUnroutable) { // perhaps by a look that is a moment old
		t.routes.Forget(topic)
		r, err = t.route(ctx, topic)
	}
	if !errors.Is(err, bus.ErrUnroutable) {
		return r, err
	}
	c := t.streamConfig(topic)
	if change != nil {
		change(&c)
	}
	if t.o.Require {
		return nil, fmt.Errorf("%w: there is no stream, and Options.Require forbids to create one; run: nats stream add %s --subjects '%s.*' --metadata '%s=%s' --metadata '%s=%d' --defaults",
			bus.ErrRefused, c.Name, topic, metaTopic, topic, metaLanes, t.o.Lanes)
	}
	nc, err := t.controlConn(ctx)
	if err != nil {
		return nil, err
	}
	js, err := t.jetStream(nc)
	if err != nil {
		return nil, err
	}
	asked, cancel := asking(ctx)
	defer cancel()
	s, err := js.CreateStream(asked, c)
	t.routes.Forget(topic)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was faster, perhaps with other options
		return t.route(ctx, topic)
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == codeSubjectsOverlap {
		return nil, fmt.Errorf("%w: another stream has some of the subjects %s.*: give its metadata %s=%d if it is meant for this topic, or rename the topic: %w",
			bus.ErrRefused, topic, metaLanes, t.o.Lanes, err)
	}
	if err != nil {
		return nil, ended(ctx, err)
	}
	r = routeTo(topic, true, s.CachedInfo().Config)
	if r == nil {
		return nil, fmt.Errorf("%w: Options.Stream changed the metadata %s or %s; leave them", bus.ErrRefused, metaTopic, metaLanes)
	}
	t.routes.Learn(topic, r)
	return r, nil
}

// streamConfig is what a stream is created with.
func (t *Transport) streamConfig(topic string) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: token(topic), Subjects: []string{topic + ".*"}, Storage: jetstream.FileStorage, Replicas: t.o.Replicas, MaxAge: streamAge,
		Duplicates: t.o.Dedup, Metadata: map[string]string{metaTopic: topic, metaLanes: strconv.Itoa(t.o.Lanes)},
		Description: "topic " + topic + " of Sixfold",
	}
	if strings.HasSuffix(topic, bus.DeadSuffix) {
		c.MaxAge = 0 // dead letters wait for people
	}
	if t.o.Stream != nil {
		t.o.Stream(topic, &c)
	}
	return c
}
