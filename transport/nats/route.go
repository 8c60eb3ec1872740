package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sixfold-go/sixfold/bus"
)

// Metadata of streams that were made here, by which every process agrees about them.
const (
	metaTopic = "sixfold-topic"
	metaLanes = "sixfold-lanes"
)

// A route says where a topic is. It is immutable.
type route struct {
	topic    string
	stream   string
	subjects []string // one per lane
	filter   string   // all of them
	shared   bool     // the stream may have other topics as well
	maxMsg   int      // bytes of headers and body; 0: no limit of the stream's own
	unsafe   string   // why the stream cannot keep prefixes; empty: it can
	retains  bool     // messages stay when they are acknowledged
}

// route answers where a topic is: bus.ErrUnroutable if nowhere, bus.ErrRefused if it is illegal.
func (t *Transport) route(ctx context.Context, topic string) (*route, error) {
	return t.routes.Find(ctx, topic, t.find)
}

// find looks for the stream with the lanes of a topic, then for one with the plain subject.
func (t *Transport) find(ctx context.Context, topic string) (*route, error) {
	if err := checkTopic(topic); err != nil {
		return nil, fmt.Errorf("%w: %w", bus.ErrRefused, err)
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
	for _, laned := range []bool{true, false} {
		subject := topic
		if laned {
			subject = topic + ".0"
		}
		name, err := js.StreamNameBySubject(asked, subject)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		var s jetstream.Stream
		if err == nil {
			s, err = js.Stream(asked, name)
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, ended(ctx, err)
		}
		if r := routeTo(topic, laned, s.CachedInfo().Config); r != nil {
			return r, nil
		}
	}
	return nil, fmt.Errorf("%w: no stream has the subject %s.* or %s; declare the topic, or subscribe a group", bus.ErrUnroutable, topic, topic)
}

// routeTo makes a route, or nil where the stream only happens to have the subject: "orders.0" may be the lane of a topic or,
// in a stream for "orders.>", a topic.
func routeTo(topic string, laned bool, c jetstream.StreamConfig) *route {
	r := &route{topic: topic, stream: c.Name, maxMsg: max(int(c.MaxMsgSize), 0), shared: c.Name != token(topic),
		retains: c.Retention == jetstream.LimitsPolicy, unsafe: unsafeFor(c)}
	of, ours := c.Metadata[metaTopic]
	lanes, _ := strconv.Atoi(c.Metadata[metaLanes])
	switch {
	case laned:
		if lanes < 1 || lanes > maxLanes || ours && of != topic {
			return nil
		}
		r.filter = topic + ".*"
		for i := range lanes {
			r.subjects = append(r.subjects, topic+"."+strconv.Itoa(i))
		}
	case lanes > 0:
		return nil // the subject is the lane of another topic
	default:
		r.filter, r.subjects = topic, []string{topic}
	}
	return r
}

// unsafeFor says why a stream can refuse a message and take the next one.
func unsafeFor(c jetstream.StreamConfig) string {
	var why []string
	if c.Replicas > 1 {
		why = append(why, "it is replicated")
	}
	if c.Discard == jetstream.DiscardNew && (c.MaxMsgs > 0 || c.MaxBytes > 0 || c.MaxMsgsPerSubject > 0) {
		why = append(why, "it discards new messages at its limit")
	}
	if c.NoAck {
		why = append(why, "it does not acknowledge")
	}
	if c.PersistMode != jetstream.DefaultPersistMode {
		why = append(why, "it acknowledges before it writes")
	}
	return strings.Join(why, ", ")
}
