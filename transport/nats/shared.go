package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
	"github.com/sixfold-go/sixfold/bus/driver"
)

// openShared takes up the durable of a group without order, which all members pull from.
func (ses *session) openShared(ctx context.Context, p *part) error {
	asked, cancel := asking(ctx)
	defer cancel()
	s := ses.s
	if err := ses.refuseOrdered(asked, p); err != nil {
		return err
	}
	c := jetstream.ConsumerConfig{Durable: p.durable, AckPolicy: jetstream.AckExplicitPolicy, AckWait: s.t.o.AckWait, MaxDeliver: -1, MaxAckPending: -1,
		FilterSubject: p.route.filter, DeliverPolicy: s.beginning(), Replicas: s.t.o.Replicas, Description: "group " + s.sub.Group + " of topic " + p.topic}
	known, err := ses.js.Consumer(asked, p.route.stream, p.durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		_, err = ses.js.CreateOrUpdateConsumer(asked, p.route.stream, c)
	case err == nil:
		is := known.CachedInfo().Config
		if is.AckPolicy != jetstream.AckExplicitPolicy || is.DeliverSubject != "" || is.FilterSubject != "" && is.FilterSubject != p.route.filter || len(is.FilterSubjects) > 0 {
			return fmt.Errorf("%w: consumer %s of stream %s was not made for this: it must pull, acknowledge explicitly and filter %s; name the group otherwise", bus.ErrRefused, p.durable, p.route.stream, p.route.filter)
		}
		if is.AckWait != c.AckWait || is.MaxAckPending != -1 {
			is.AckWait, is.MaxAckPending = c.AckWait, -1
			_, err = ses.js.UpdateConsumer(asked, p.route.stream, is)
		}
	}
	if err != nil {
		return err
	}
	ses.add(&feed{s: s, topic: p.topic, stream: p.route.stream, consumer: p.durable})
	return nil
}

// beginning is where a new group begins.
func (s *source) beginning() jetstream.DeliverPolicy {
	if s.t.o.StartNew {
		return jetstream.DeliverNewPolicy
	}
	return jetstream.DeliverAllPolicy
}

// refuseOrdered looks whether the group has lanes in this stream: then it would have two positions. Lanes of a stream that
// was deleted do not count.
func (ses *session) refuseOrdered(ctx context.Context, p *part) error {
	kv, err := ses.js.KeyValue(ctx, ses.s.t.o.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	keys, err := kv.ListKeysFiltered(ctx, p.prefix()+"l.*")
	if err != nil {
		return err
	}
	defer keys.Stop()
	first := ""
	for key := range keys.Keys() {
		if first == "" {
			first = key
		}
	}
	if first == "" {
		return nil
	}
	stream, err := ses.js.Stream(ctx, p.route.stream)
	if err != nil {
		return err
	}
	entry, err := kv.Get(ctx, first)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var l lease
	if json.Unmarshal(entry.Value(), &l) == nil && l.Born != stream.CachedInfo().Created.UnixNano() {
		return nil
	}
	return fmt.Errorf("%w: group %s consumes in order; let all its members agree, or remove the keys %sl.* of bucket %s", bus.ErrRefused, driver.Quote(ses.s.sub.Group), p.prefix(), ses.s.t.o.Bucket)
}

// refuseUnordered looks whether the group has the durable of one without order.
func (ses *session) refuseUnordered(ctx context.Context, p *part) error {
	_, err := ses.js.Consumer(ctx, p.route.stream, p.durable)
	if err == nil {
		return fmt.Errorf("%w: group %s consumes without order; let all its members agree, or run: nats consumer rm %s %s", bus.ErrRefused, driver.Quote(ses.s.sub.Group), p.route.stream, p.durable)
	}
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return nil
	}
	return err
}

// prefix of the keys of a group on one topic, in the bucket of leases.
func (p *part) prefix() string { return p.route.stream + "." + p.durable + "." }
